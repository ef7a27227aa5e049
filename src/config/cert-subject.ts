// Compares the subject of a client certificate with a configured one. The certificate has been verified by TLS before; this is only its name.

/** A subject as Node gives it: attribute to value, or to several. */
export type CertificateSubject = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Attributes in a fixed order, `CN=crm,O=Example`; values compared exactly, attribute names in upper case. */
function normalise(pairs: readonly (readonly [string, string])[]): string {
  return JSON.stringify(pairs.map(([name, value]) => `${name.trim().toUpperCase()}=${value.trim()}`).sort());
}

/** One string for a subject, whatever the order of its attributes. */
export function subjectKey(subject: CertificateSubject): string {
  return normalise(
    Object.entries(subject).flatMap(([name, value]) =>
      value === undefined ? [] : (typeof value === 'string' ? [value] : value).map((one) => [name, one] as const),
    ),
  );
}

/** The same for a setting: `CN=crm, O=Example` names the whole subject, a bare `crm` is a subject of that CN alone. Commas in values as `\,`. */
export function parseCertSubject(setting: string): string {
  if (!setting.includes('=')) return normalise([['CN', setting]]);
  const parts = setting.match(/(?:\\.|[^,\\])+/g) ?? [];
  return normalise(
    parts.map((part) => {
      const at = part.indexOf('=');
      return [at < 0 ? 'CN' : part.slice(0, at), part.slice(at + 1).replace(/\\(.)/g, '$1')] as const;
    }),
  );
}
