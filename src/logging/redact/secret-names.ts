// Which names announce a secret: of query and form parameters, of JSON fields, of headers. Decides by name only;
// masking is done elsewhere.

/**
 * What a name names. The same word means different things in them: `code` is an OAuth code in a query and an error code
 * in a JSON body.
 */
export type NameKind = 'param' | 'field' | 'header';

/** Anywhere in a name, after dropping case and everything but letters and digits. */
const ANYWHERE = new RegExp(
  'token|secret|passw(?:or)?d|passphrase|passcode|assertion|authorization|cookie|apikey|privatekey|accesskey' +
    '|encryptionkey|signingkey|subscriptionkey|gatewaykey|masterkey|samlre|verifier',
);

/** As the whole name. */
const WHOLE = /^(?:pwd|pass|pin|otp|jwt|sid|saml|bearer|handle|authcode|oauthcode|devicecode|usercode|xgatewaycode)$/;

/**
 * What a name must not end in: these speak about a secret without being one (`token_type`,
 * `accessTokenValiditySeconds`).
 */
const ABOUT = new RegExp(
  '(?:type|types|seconds|minutes|days|count|fingerprint|expiry|expires|expiresin|expiresat|expired|lifetime|duration' +
    '|endpoint|state|status|ms|wait|max|min|limit|length|bytes|replaced|required|enabled|policy|requirements)$',
);

const PASSWORDISH = /passw(?:or)?d|passphrase|passcode|^(?:pwd|pass|pin|otp)$/;

/**
 * Lower-case letters and digits only, escapes (`%61`, `\u0061`, `\n`) resolved. A run of backslashes is read once, from
 * its beginning.
 */
export function compactName(name: string): string {
  let plain = name;
  if (plain.includes('\\'))
    plain = plain.replace(/(?<!\\)\\+u([0-9a-f]{4})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  if (plain.includes('%')) plain = percentDecode(plain);
  return plain.toLowerCase().replace(/[^a-z0-9]+/g, '');
}

/** Whether a value under this name is to be masked. `state` is not decided here: see `isSecretState`. */
export function isSecretName(name: string, kind: NameKind): boolean {
  const compact = compactName(name);
  if (isSecretCompact(compact, kind)) return true;
  if (name.includes('[') || name.includes('.')) {
    return name.split(/[[\].]+/).some((part) => part !== '' && isSecretCompact(compactName(part), kind));
  }
  // An escaped line break before a name is not part of it.
  return name.includes('\\') && isSecretCompact(compactName(name.replace(/(?<!\\)\\+[bfnrt]/g, '')), kind);
}

function isSecretCompact(compact: string, kind: NameKind): boolean {
  if (WHOLE.test(compact)) return true;
  if (compact === 'code' || compact === 'authorizationcode') return true;
  if (kind === 'param' && (compact === 'key' || compact === 'sig' || compact.endsWith('signature'))) return true;
  if (
    kind === 'header' &&
    (compact.endsWith('key') || compact.endsWith('signature') || compact === 'secwebsocketprotocol')
  )
    return true;
  return ANYWHERE.test(compact) && !ABOUT.test(compact);
}

/** Whether the name is one of a password, whose value may look like an ordinary word. */
export function isPasswordName(name: string): boolean {
  return PASSWORDISH.test(compactName(name));
}

/**
 * `code` in JSON is usually an error code (`bad.request`, `US`, `404`): those words stay readable, what may be an OAuth
 * code does not.
 */
export function isHarmlessCode(name: string, value: string): boolean {
  return (
    compactName(name) === 'code' &&
    (value.length <= 3 || (value.length <= 80 && /^[a-z]{1,24}(?:[._ ][a-z]{1,24}){0,6}$/i.test(value)))
  );
}

/** The words our own records put under `token`: a state, not a token. */
export function isTokenState(value: string): boolean {
  return value === 'none' || value === 'fresh' || value === 'due' || value === 'suspect' || value === 'expired';
}

/** `state` is a login's anti-forgery value or a filter (`state=active`): masked unless it is a plain word. */
export function isSecretState(name: string, value: string): boolean {
  return compactName(name) === 'state' && !/^[a-z_]{0,20}$/i.test(value);
}

/** Percent-decodes once what can be decoded and leaves the rest; never throws. */
export function percentDecode(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      // Not UTF-8: latin1 shows it well enough for finding names and values.
      return run.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    }
  });
}
