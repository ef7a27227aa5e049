// What goes wrong between us and Redis, in words of ours. What a server says may repeat arguments of a command, secrets
// among them: only its first word, and what stands in a fixed form behind it, is taken over.

/** Why a command has no reply, or a connection could not be made. */
export type RedisErrorKind =
  /** It was never sent: there is no connection, or the server does not answer in time. */
  | 'offline'
  /** It was sent, and no reply came in time: it may have been executed, or may be later. */
  | 'late'
  /** It was sent, and the connection ended before the reply: it may have been executed. */
  | 'lost'
  /** The server refused it: `word` says why. It was not executed. */
  | 'refused'
  /** The server, or what is configured for it, cannot be used: a person has to change something. */
  | 'unusable';

/** A failure. Its message is safe to log and to show; it holds no argument, no address with a user, no secret. */
export class RedisError extends Error {
  readonly kind: RedisErrorKind;
  /** The first word of the server's refusal: `READONLY`, `OOM`; else ''. */
  readonly word: string;

  constructor(kind: RedisErrorKind, message: string, word = '') {
    super(message);
    this.name = 'RedisError';
    this.kind = kind;
    this.word = word;
  }

  /** Whether the command may have been executed all the same. */
  get isUncertain(): boolean {
    return this.kind === 'late' || this.kind === 'lost';
  }
}

/** What the words of a refusal mean, and what to do. */
const REFUSALS: Readonly<Record<string, string>> = {
  WRONGPASS:
    'the user name or password is wrong: check store.username and store.password, and that the server has this user',
  NOAUTH: 'a password is asked for: set store.password_file, and store.username where it is not the default user',
  READONLY: 'it is a replica, which takes no writes',
  NOREPLICAS: 'too few of its replicas are there for it to take writes (min-replicas-to-write)',
  MASTERDOWN: 'it is a replica whose master is gone',
  LOADING: 'it is still reading its data from the disk',
  BUSY: 'it is busy with a script of somebody else',
  OOM: 'its memory is full (maxmemory): give it more, or remove what others keep there',
  MISCONF: 'it cannot write to its disk, and takes no writes until it can',
  CLUSTERDOWN: 'its cluster is not whole',
  TRYAGAIN: 'its cluster is being changed',
  MOVED: 'our keys are at another node of the cluster',
  ASK: 'our keys are moving to another node of the cluster',
  CROSSSLOT: 'keys of one script are at several nodes of the cluster',
  WRONGTYPE: 'something else is kept under one of our keys: use another store.prefix',
  UNKILLABLE: 'it is busy with a script of somebody else',
};

/** The error for what a server replied. */
export function refusal(reply: string): RedisError {
  const word = wordOf(reply);
  const known = REFUSALS[word];
  if (known !== undefined) return new RedisError('refused', `Redis refuses: ${known} (${word})`, word);
  const right = missingRight(reply);
  if (right !== null) return new RedisError('refused', `Redis refuses: ${right} (NOPERM)`, 'NOPERM');
  if (/^ERR unknown command/i.test(reply))
    return new RedisError('refused', 'Redis refuses: it does not know a command that is needed', 'UNKNOWN');
  return new RedisError('refused', `Redis refuses a command (${word})`, word);
}

/** Its first word; of an error in a script, which older servers write around it, that of the command which failed. */
function wordOf(reply: string): string {
  const word = /^[A-Z]{2,20}(?= |$)/.exec(reply)?.[0] ?? 'ERR';
  if (word !== 'ERR') return word;
  const inner = /@user_script: ?\d+: -?([A-Z]{2,20}) /.exec(reply)?.[1];
  return inner !== undefined && REFUSALS[inner] !== undefined ? inner : word;
}

/** The right that a refusal names; null where it is another refusal. Scripts need those of each command in them. */
function missingRight(reply: string): string | null {
  if (reply.startsWith('NOPERM')) {
    const command = /to run the '([a-z]+(?:\|[a-z]+)?)' command/.exec(reply)?.[1];
    if (command !== undefined) return `the user has no right to the command ${command}`;
    if (/access (?:one of the|the) channels?|channel/.test(reply)) return 'the user has no right to the channels (&)';
    return 'the user has no right to the keys (~)';
  }
  return /user executing the script can't (?:run|access)/.test(reply)
    ? 'the user has no right to a command or a key that a script uses'
    : null;
}

/** Codes of Node and OpenSSL for a connection that could not be made, in words. */
const FAILURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'it closed the connection before it answered: a port with TLS needs rediss://, another one redis://',
  EPIPE: 'it closed the connection',
  ENOTFOUND: 'the name is not known (DNS)',
  EAI_AGAIN: 'the name could not be looked up (DNS)',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no way to it',
  ENOENT: 'there is no such socket',
  EACCES: 'this user may not open that socket',
  EPERM: 'it may not be reached from here',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS there: use redis://, or its port for TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS there: use redis://, or its port for TLS',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
};

/** Failures of TLS that stay until somebody changes the configuration, or the server's certificate. */
const DISTRUST: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name than the one in store.url',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not from an authority that is known here: set store.ca_file',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is not from an authority that is known here: set store.ca_file',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not from an authority that is known here: set store.ca_file',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not from an authority that is known here: set store.ca_file',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself: put it into store.ca_file',
  CERT_SIGNATURE_FAILURE: 'its certificate is not from an authority that is known here: set store.ca_file',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it asks for a certificate: set store.cert_file and store.key_file',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'it asks for a certificate: set store.cert_file and store.key_file',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not trust the authority of store.cert_file',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it does not accept the certificate in store.cert_file',
};

/** The error for a connection to `where` that was there, and ended. */
export function connectionLoss(where: string, error: unknown): RedisError {
  const { code = '' } = (error ?? {}) as NodeJS.ErrnoException;
  return new RedisError('lost', `the connection to Redis at ${where} ended${named(code)}`);
}

/** The error for a connection to `where` that could not be made. */
export function connectionFailure(where: string, error: unknown): RedisError {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  const distrust = DISTRUST[code];
  if (distrust !== undefined) return new RedisError('unusable', `Redis at ${where}: ${distrust} (${code})`, code);
  const known = FAILURES[code];
  if (known !== undefined) return new RedisError('offline', `Redis at ${where} cannot be reached: ${known} (${code})`);
  // The library's own errors have no codes.
  if (message === 'Connection timeout') return connectionFailure(where, { code: 'ETIMEDOUT' });
  if (/^Socket closed/.test(message)) return connectionFailure(where, { code: 'ECONNRESET' });
  return new RedisError('offline', `Redis at ${where} cannot be reached${named(code)}`);
}

function named(code: string): string {
  return /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? ` (${code})` : '';
}
