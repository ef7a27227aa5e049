// The inspector's page: its shell and files, which hold no data and so need no proof. They are read at the first request
// for any of them.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type PageFiles, readPageFiles } from '../../../inspector/page-files.ts';
import { type Exchange, exchangeOf } from '../../exchange.ts';
import { ISOLATION, sendPage } from '../../pages/page.ts';
import { notFound } from '../../responses.ts';
import { assertInspected } from './viewer.ts';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  // The icon.
  'img-src data:',
  "form-action 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  // The one that makes templates, from strings of ours; its name is the library's.
  'trusted-types lit-html',
].join('; ');

/** The address changes with the content. */
const KEPT = 'public, max-age=31536000, immutable';

type NamedFile = { Params: { version: string; name: string } };

/** Registers the page. */
export function registerPage(app: FastifyInstance): void {
  let read: PageFiles | null = null;
  const page = (): PageFiles => {
    read ??= readPageFiles();
    return read;
  };
  app.get('/-/ui', (request, reply) => {
    const { response, record } = servedExchange(request);
    reply.hijack();
    record.status = 302;
    response.writeHead(302, ['Location', 'ui/', 'Cache-Control', 'no-store', 'Content-Length', '0', ...ISOLATION]);
    response.end();
  });
  app.get('/-/ui/', (request, reply) => {
    const { response, record } = servedExchange(request);
    const { shell } = page();
    reply.hijack();
    record.status = 200;
    sendPage(response, 200, { text: shell, contentSecurityPolicy: POLICY }, record.requestId);
  });
  app.get<NamedFile>('/-/ui/:version/:name', (request, reply) => {
    const { response, record, role } = servedExchange(request);
    const { version, files } = page();
    const file = request.params.version === version ? files.get(request.params.name) : undefined;
    if (file === undefined) throw notFound(role.admin);
    reply.hijack();
    record.status = 200;
    response.writeHead(200, [
      'Content-Type',
      file.type,
      'Content-Length',
      String(file.body.length),
      'Cache-Control',
      KEPT,
      'X-Gateway-Request-Id',
      record.requestId,
      ...ISOLATION,
    ]);
    response.end(request.method === 'HEAD' ? undefined : file.body);
  });
}

/** The exchange of the page, or of a file of it: where calls can be looked at, whoever asks. */
function servedExchange({ raw }: FastifyRequest): Exchange {
  const exchange = exchangeOf(raw);
  assertInspected(exchange);
  return exchange;
}
