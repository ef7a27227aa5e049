// A plain look at a SAML 2.0 assertion: that it is one, that it is in its time, and whom it names.
// It verifies no signature and parses no XML in earnest; a real service provider must do both.

import { OAuthError } from './faults.ts';

/**
 * Gives the NameID of a base64 assertion (standard or URL alphabet). Throws OAuthError `invalid_grant` when it is no assertion,
 * names nobody, says no `NotOnOrAfter`, or is outside any of the times it says. `nowMs` is epoch ms.
 */
export function readAssertion(encoded: string, nowMs: number): string {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(encoded.replace(/\s/g, ''))) throw refused('the assertion is not base64');
  const xml = Buffer.from(encoded, 'base64').toString('utf8');
  if (!/<(?:[\w-]+:)?Assertion[\s>]/.test(xml)) throw refused('the assertion is not a SAML assertion');
  const ends = readTimes(xml, 'NotOnOrAfter');
  if (ends.length === 0) throw refused('the assertion does not say NotOnOrAfter');
  if (ends.some((end) => !(nowMs < end))) throw refused('the assertion has expired');
  if (readTimes(xml, 'NotBefore').some((start) => !(nowMs >= start))) throw refused('the assertion is not yet valid');
  const name = /<(?:[\w-]+:)?NameID[^>]*>([^<]+)</.exec(xml)?.[1]?.trim();
  if (!name) throw refused('the assertion names no subject');
  return name;
}

/** The values of an attribute, as epoch ms; NaN for what is no date. */
function readTimes(xml: string, attribute: string): number[] {
  return [...xml.matchAll(new RegExp(`\\s${attribute}\\s*=\\s*["']([^"']*)["']`, 'g'))].map((match) => Date.parse(match[1] ?? ''));
}

function refused(reason: string): OAuthError {
  return new OAuthError('invalid_grant', reason);
}
