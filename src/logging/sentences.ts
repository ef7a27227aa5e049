// The records that a person at a terminal reads as sentences: what the log's `text` format makes of their fields. JSON
// has the fields alone.

/** The fields of a record, redacted. */
type Fields = Readonly<Record<string, unknown>>;

/** A record in words; null where its fields are not those that are known, and it is shown field by field. */
type Sentence = (fields: Fields) => string | null;

const seconds = (ms: unknown): string => `${Math.round(Number(ms) / 100) / 10} s`;

const counted = (count: unknown, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

/** `default ("Acme", client_credentials)`. */
function credentialWords(credential: unknown): string {
  const { name, grant, organization, oauthClient, loginNeeded } = credential as Fields;
  if (loginNeeded === true) return `${name} (nobody is logged in: gcg login ${name})`;
  const known = [organization, oauthClient].filter((one) => typeof one === 'string').map((one) => `"${one}"`);
  return `${name} (${[...known, grant].join(', ')})`;
}

function ready({ addresses, region, upstream, credentials, try: example }: Fields): string | null {
  if (!Array.isArray(addresses) || !Array.isArray(credentials)) return null;
  const where = addresses.join(', ');
  const who = credentials.map(credentialWords).join(', ');
  const by = upstream === undefined ? '' : ` by ${upstream}`;
  return `READY ${where} -> ${region}${by} as ${who}. Try: ${example}`;
}

function listening({ addresses, version, pid, page, pageFor }: Fields): string | null {
  if (!Array.isArray(addresses)) return null;
  const live = page === undefined ? '' : `; live page ${page} for ${pageFor}`;
  return `listening on ${addresses.join(', ')} (gcg ${version}, pid ${pid})${live}`;
}

function waiting({ method, path, heldBy, atMostMs, client }: Fields): string {
  const longest = atMostMs === undefined ? '' : ` up to ${seconds(atMostMs)}`;
  return `waiting${longest} for ${heldBy}: ${method} ${path}${client === undefined ? '' : ` ${client}`}`;
}

function draining({ reason, calls, sockets, atMostMs }: Fields): string | null {
  const again = reason === 'SIGINT' ? 'Ctrl-C again ends it now' : 'a second signal ends it now';
  if (calls === undefined || calls === 0) return `ending (${reason})`;
  const open = sockets === 0 ? '' : `, ${counted(sockets, 'of them an open socket', 'of them open sockets')}`;
  return `finishing ${counted(calls, 'call')}${open}, at most ${seconds(atMostMs)}; ${again}`;
}

function stopped({ finished, cut }: Fields): string {
  return `stopped: ${counted(finished, 'call')} finished, ${cut} cut`;
}

function tokenState({ credential, toToken, toRenewal, error, nextAttemptInMs }: Fields): string {
  const next = typeof nextAttemptInMs === 'number' ? ` (next try in ${seconds(nextAttemptInMs)})` : '';
  const name = `credential ${credential}`;
  if (typeof error !== 'string') return `${name}: token ${toToken}, renewal ${toRenewal}${next}`;
  return `${error.startsWith(`${name} `) ? '' : `${name}: `}${error}${next}`;
}

function anonymous({ addresses, advice }: Fields): string | null {
  return Array.isArray(addresses) ? `anonymous callers are served on ${addresses.join(', ')}: ${advice}` : null;
}

function wrongProtocol(msg: string): Sentence {
  return ({ peer, listener, advice, leftOut }) => {
    const others = leftOut === undefined ? '' : `; ${counted(leftOut, 'other')}`;
    return `${msg} (${peer}, to ${listener}${others}): ${advice}`;
  };
}

const SPOKE_TLS = 'a caller spoke TLS to a plain http listener';
const SPOKE_HTTP = 'a caller spoke plain http to a TLS listener';

const SENTENCES: ReadonlyMap<string, Sentence> = new Map<string, Sentence>([
  ['listening', listening],
  ['ready', ready],
  ['waiting', waiting],
  ['draining', draining],
  ['stopped', stopped],
  ['token state', tokenState],
  ['anonymous callers are served', anonymous],
  [SPOKE_TLS, wrongProtocol(SPOKE_TLS)],
  [SPOKE_HTTP, wrongProtocol(SPOKE_HTTP)],
  ['configuration warning', ({ warning }) => `configuration warning: ${warning}`],
]);

/** What a record says to a person, or null where it has no sentence of its own. */
export function sentenceOf(msg: string, fields: Fields): string | null {
  return SENTENCES.get(msg)?.(fields) ?? null;
}
