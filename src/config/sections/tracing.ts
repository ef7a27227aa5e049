// [tracing]: where spans of calls go, how many of them, and what they say of this gateway.

import { formatListenAddress, type ListenAddress } from '../listen-address.ts';
import { boolean, commaList, duration, fraction, secret, text } from '../option.ts';
import { quote } from '../problem.ts';
import { Section, type SectionContext, type SectionReader, type Values } from '../section.ts';
import { err, isPrintable, ok, type Parsed, parseHttpUrl } from '../values.ts';
import { findOwnListener, isLoopbackOrigin } from './general.ts';

export const tracing = new Section(
  'tracing',
  'Spans of calls, exported to an OpenTelemetry collector (docs/tracing.md).',
  {
    otlp_endpoint: text(null, {
      parse: parseEndpoint,
      example: 'https://otlp.example.com/v1/traces',
      doc: 'Where spans go: OTLP over HTTP, as protobuf. The whole URL, path included; without one there are no spans.',
      more: 'Certificates are verified as those of Genesys Cloud are ([tls] ca_file), [proxy] applies.',
    }),
    sample_ratio: fraction('1', {
      doc: 'The part of calls that have spans, 0 to 1, where their callers do not decide it.',
    }),
    parent_based: boolean('true', {
      doc: "The sampled flag of a caller's traceparent decides, where the caller proved who it is, or is on this machine.",
      more: 'With false sample_ratio alone does: a caller can then neither ask for spans nor prevent them.',
    }),
    header_name: text('Authorization', {
      parse: parseHeaderName,
      doc: 'The name of the header by which the collector knows us.',
    }),
    header_value: secret({
      ignoresBlanks: true,
      example: 'OTLP_AUTHORIZATION',
      doc: 'Its whole value, like "Bearer …" or "Api-Key …"; without one no such header is sent.',
    }),
    service_name: text('genesys-cloud-gateway', { doc: 'service.name of the spans.' }),
    resource_attributes: commaList(null, {
      item: parseAttribute,
      example: 'deployment.environment.name=production, service.namespace=crm',
      doc: 'Further attributes of all spans: name=value, with commas.',
    }),
    timeout: duration('10', { minMs: 100, maxMs: 60_000, doc: 'One request to the collector.' }),
    unsafe_plain_http: boolean('false', {
      doc: 'Allow an http:// endpoint that is not on this machine: spans and the header go unencrypted then.',
    }),
  },
);

/** `[tracing]`. Attributes as pairs; an endpoint of null: no spans. */
export type TracingConfig = Omit<Values<typeof tracing>, 'resourceAttributes'> & {
  readonly resourceAttributes: readonly (readonly [name: string, value: string])[];
};

type Reader = SectionReader<(typeof tracing)['options']>;

/** Reads `[tracing]`; `listeners` are where spans cannot go. */
export function readTracing(context: SectionContext, listeners: readonly ListenAddress[]): TracingConfig {
  const reader = tracing.reader(context);
  const { resourceAttributes, ...values } = reader.values();
  checkEndpoint(reader, values, listeners);
  if (values.headerValue !== null) checkHeaderValue(reader, values.headerValue.read().reveal().trim());
  return { ...values, resourceAttributes: resourceAttributes.map(splitAttribute) };
}

function checkEndpoint(
  reader: Reader,
  { otlpEndpoint, unsafePlainHttp }: Pick<Values<typeof tracing>, 'otlpEndpoint' | 'unsafePlainHttp'>,
  listeners: readonly ListenAddress[],
): void {
  if (otlpEndpoint === null) {
    if (reader.isSet('otlp_endpoint')) return;
    for (const key of ['header_value', 'resource_attributes'] as const)
      if (reader.isSet(key)) reader.warning(key, 'has no effect without tracing.otlp_endpoint');
    return;
  }
  const { origin } = new URL(otlpEndpoint);
  const own = findOwnListener(origin, listeners);
  if (own !== undefined) {
    reader.problem(
      'otlp_endpoint',
      `${quote(origin)} is this gateway itself (${formatListenAddress(own)}); name the collector`,
    );
  } else if (origin.startsWith('http:') && !isLoopbackOrigin(origin) && !unsafePlainHttp) {
    reader.problem(
      'otlp_endpoint',
      'http sends spans, and the header of the collector, unencrypted; use https, or say unsafe_plain_http = true',
    );
  }
}

function checkHeaderValue(reader: Reader, value: string): void {
  if (value === '' || !isPrintable(value) || !/^[\t\x20-\x7e\x80-\xff]{1,8192}$/.test(value))
    reader.problem('header_value', 'has characters that a header cannot hold, or is too long for one');
}

/** A URL with its path: a collector has none to spare, and a missing one is found out late. */
function parseEndpoint(written: string): Parsed<string> {
  const parsed = parseHttpUrl(written);
  if (!parsed.ok) return err(parsed.message.replace('gateway.example.com', 'otlp.example.com/v1/traces'));
  const { origin, pathname } = new URL(parsed.value);
  if (pathname === '/') return err(`has no path: most collectors take spans at ${origin}/v1/traces`);
  return parsed;
}

/** Headers that the request has anyway, or that frame it. */
const TAKEN = new Set([
  ...['host', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect', 'user-agent', 'proxy-authorization'],
  ...['content-length', 'content-type', 'content-encoding', 'transfer-encoding'],
]);

function parseHeaderName(name: string): Parsed<string> {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name))
    return err('is not a header name; letters, digits and hyphens');
  return TAKEN.has(name.toLowerCase()) ? err(`${quote(name)} is set by the gateway itself`) : ok(name);
}

/** What the gateway says of itself. */
const OWN_ATTRIBUTES = new Set(['service.name', 'service.version', 'service.instance.id']);

function parseAttribute(item: string): Parsed<string> {
  const [name, value] = splitAttribute(item);
  if (!/^[A-Za-z][A-Za-z0-9_.-]{0,127}$/.test(name) || value === '' || value.length > 1_024)
    return err(`${quote(item)} is not name=value`);
  if (name === 'service.name') return err('service.name is tracing.service_name');
  return OWN_ATTRIBUTES.has(name) ? err(`${quote(name)} is set by the gateway itself`) : ok(item);
}

function splitAttribute(item: string): readonly [name: string, value: string] {
  const at = item.indexOf('=');
  return at < 0 ? [item.trim(), ''] : [item.slice(0, at).trim(), item.slice(at + 1).trim()];
}
