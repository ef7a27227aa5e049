// Calls as a file to give away, and which secret a mark in such a file stands for.

import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { secretSettings } from '../../../config/gateway-config.ts';
import { GatewayError } from '../../../errors.ts';
import { ArchiveLeak, type ArchiveOptions, createArchive } from '../../../inspector/archive.ts';
import type { HarCall } from '../../../inspector/har.ts';
import { maySee, searchCalls } from '../../../inspector/search.ts';
import { whyOf, whyRowOf } from '../../../inspector/why.ts';
import type { WhyFacts } from '../../../inspector/why-facts.ts';
import type { Call } from '../../../inspector/wire.ts';
import { VERSION } from '../../../version.ts';
import type { ServerContext } from '../../context.ts';
import type { Exchange } from '../../exchange.ts';
import { usersOfLimit, whyFacts } from '../../why-facts.ts';
import { readBodiesAsText } from '../access.ts';

import { invalid, jsonBody } from './capture.ts';
import { settingsOf } from './share-settings.ts';
import { auditChange, filterOf, findCall, Places, sendInspection, type Viewer, viewerOf } from './viewer.ts';

const LARGEST_BODY_BYTES = 64 * 1024;
/** So many calls are in one file at most. */
const MOST_CALLS = 5_000;
const MOST_IDS = 1_000;
/** Each may be as large as all that is kept. */
const MOST_FILES = 3;

/** Registers the routes. */
export function registerExport(app: FastifyInstance): void {
  /** One is made at a time: that takes all others' time. */
  let isBusy = false;
  const places = new Places(MOST_FILES);
  app.register(async (scope) => {
    readBodiesAsText(scope, LARGEST_BODY_BYTES);
    scope.post('/-/export', async (request, reply) => {
      const viewer = viewerOf(request);
      const wish = wishIn(jsonBody(request.body), viewer);
      if (isBusy)
        throw new GatewayError('gateway.rate.limited', 'another file is being made: try again', { retryAfterMs: 1000 });
      places.take(viewer);
      isBusy = true;
      try {
        auditChange(viewer.exchange);
        const pieces = await archived(viewer, wish);
        reply.hijack();
        if (pieces !== null) sendArchive(viewer.exchange, pieces);
      } finally {
        isBusy = false;
      }
    });
    scope.post('/-/export/which', (request, reply) => {
      const { exchange, inspector, rights } = viewerOf(request);
      if (rights.sees !== 'all')
        throw new GatewayError('gateway.client.forbidden', 'only a client with admin = true may ask whose a mark is');
      const mark = markIn(jsonBody(request.body));
      auditChange(exchange);
      let found: string | null = null;
      for (const { what, secret } of secretsInUse(exchange.gateway))
        if (inspector.fingerprints.isOf(secret, mark)) found ??= what;
      reply.hijack();
      sendInspection(exchange, JSON.stringify({ mark, found }));
    });
  });
}

/** What is wished for. */
interface Wish extends Pick<ArchiveOptions, 'bodies' | 'scope' | 'filter'> {
  readonly matches: ((call: Call) => boolean) | null;
  /** Calls by number or request id; null: by the filter. */
  readonly ids: readonly string[] | null;
}

function wishIn(body: Readonly<Record<string, unknown>>, { exchange, rights }: Viewer): Wish {
  const { f = '', ids, bodies = 'none', scope = 'file', confirm } = body;
  if (typeof f !== 'string') throw invalid('f must be a filter, as text');
  if (bodies !== 'none' && bodies !== 'shape' && bodies !== 'full')
    throw invalid('bodies must be "none", "shape" or "full"');
  if (scope !== 'file' && scope !== 'run') throw invalid('scope must be "file" or "run"');
  if (bodies !== 'none' && rights.sees !== 'all')
    throw new GatewayError('gateway.client.forbidden', 'only a client with admin = true may export bodies');
  if (bodies === 'full' && confirm !== 'full')
    throw invalid('personal data may be in bodies: say "confirm": "full" as well, if they are to leave the gateway');
  const chosen = ids === undefined ? null : idsIn(ids);
  const matches = filterOf(f, exchange.gateway.clock.now);
  return { bodies, scope, ids: chosen, matches, filter: chosen === null ? f : null };
}

function idsIn(ids: unknown): string[] {
  const isList = Array.isArray(ids) && ids.length >= 1 && ids.length <= MOST_IDS;
  if (!isList || !ids.every((id) => typeof id === 'string' || typeof id === 'number'))
    throw invalid(`ids must be a list of 1 to ${MOST_IDS} numbers or request ids of calls`);
  return ids.map(String);
}

/** The pieces of the file; null where nobody waits for it any more. */
async function archived(viewer: Viewer, wish: Wish): Promise<string[] | null> {
  const { exchange, inspector, rights } = viewer;
  const { gateway, connection } = exchange;
  const { calls, isCut } = await chosenCalls(viewer, wish);
  const only = wish.ids?.length === 1 ? calls[0] : undefined;
  const options: ArchiveOptions = {
    ...{ bodies: wish.bodies, scope: wish.scope, filter: wish.filter, isCut, version: VERSION },
    settings: only && settingsOf(gateway.runtime.config, only, rights.sees === 'all'),
  };
  const live = gateway.liveSecrets ?? { mask: (text: string) => text, find: () => -1 };
  const secrets = { live, fingerprints: inspector.fingerprints };
  try {
    const isWanted = () => !connection.disconnected;
    const usedBy = calls.length <= MOST_LOOKS ? await usersOfLimits(calls, viewer, isWanted) : new Map();
    return await createArchive(known(calls, usedBy, viewer), options, secrets, isWanted);
  } catch (error) {
    if (!(error instanceof ArchiveLeak)) throw error;
    const { what, place } = error;
    gateway.log.error({ what, place }, 'a secret was found in a file before it left: it was not made');
    throw new GatewayError(
      'gateway.internal',
      `no file was made: ${what} was found in it, at ${place}. That is a fault of the gateway: please report this ` +
        'sentence, which holds no secret; a narrower filter leaves that call out',
    );
  }
}

/** The calls, the oldest first. Throws gateway.route.not.found for an id of none that may be seen. */
async function chosenCalls(
  { exchange, inspector, rights }: Viewer,
  { ids, matches }: Wish,
): Promise<{ calls: Call[]; isCut: boolean }> {
  if (ids === null) {
    const query = { matches, limit: MOST_CALLS, before: Number.POSITIVE_INFINITY, after: 0 };
    const found = await searchCalls(inspector.ring, rights, query, () => !exchange.connection.disconnected);
    return { calls: found.calls.map(({ json }) => JSON.parse(json) as Call).reverse(), isCut: found.more };
  }
  const calls = ids.map((id) => {
    const kept = findCall(inspector.ring, id);
    const call = kept && (JSON.parse(kept.json) as Call);
    if (call === null || !maySee(call.client, rights))
      throw new GatewayError('gateway.route.not.found', 'one of the calls is not kept any more, or not yours to see');
    return call;
  });
  return { calls: calls.sort((a, b) => a.seq - b.seq), isCut: false };
}

/** A look at the calls of the minute before is worth it for so many; for more it would be made for each. */
const MOST_LOOKS = 5;

type UsersOfLimits = ReadonlyMap<Call, WhyFacts['usedBy']>;

async function usersOfLimits(
  calls: readonly Call[],
  { exchange, inspector, rights }: Viewer,
  isWanted: () => boolean,
): Promise<UsersOfLimits> {
  const found = new Map<Call, WhyFacts['usedBy']>();
  for (const call of calls)
    found.set(call, await usersOfLimit(call, inspector.ring, exchange.gateway.runtime, rights, isWanted));
  return found;
}

/** Calls with what is known of them; what was captured is for those who may capture. */
function* known(
  calls: readonly Call[],
  usedBy: UsersOfLimits,
  { exchange: { gateway }, inspector, rights }: Viewer,
): Iterable<HarCall> {
  for (const call of calls)
    yield {
      call,
      why: whyRowOf(call) === null ? null : whyOf(call, whyFacts(gateway, call, usedBy.get(call) ?? null, rights)),
      captured: rights.sees === 'all' ? inspector.capture.of(call.requestId) : undefined,
      origin: originOf(call, gateway),
    };
}

/** Where a call was for: the API of its credential's region, else nowhere. */
function originOf({ credential }: Call, { runtime }: ServerContext): string {
  const { hosts } = runtime.credentials.get(credential ?? '')?.config ?? runtime.placeholderCredential;
  return hosts.api.origin + hosts.api.pathPrefix;
}

function sendArchive({ response, record, gateway }: Exchange, pieces: readonly string[]): void {
  const length = pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0);
  const stamp = new Date(gateway.clock.now()).toISOString().replaceAll(/[-:]/g, '').slice(0, 15);
  record.status = 200;
  response.writeHead(200, [
    ...['Content-Type', 'application/json', 'Content-Length', String(length)],
    ...['Content-Disposition', `attachment; filename="gcg-${stamp}.har"`],
    ...['X-Gateway-Request-Id', record.requestId],
  ]);
  // Piece by piece: at once it would take all others' time.
  Readable.from(pieces, { objectMode: false }).pipe(response);
}

function markIn({ mark }: Readonly<Record<string, unknown>>): string {
  const found = typeof mark === 'string' ? /^\s*(?:\[redacted)?[#~]?([A-Z2-9]{10})\]?\s*$/.exec(mark)?.[1] : undefined;
  if (found === undefined) throw invalid('mark must be what stands in the file, [redacted~EE8R557DP4]');
  return found;
}

/** The secrets that are in use, each with what it is. */
function* secretsInUse({ runtime }: ServerContext): Iterable<{ readonly what: string; readonly secret: string }> {
  for (const { config, source, pool } of runtime.credentials.list())
    for (const one of pool?.sources() ?? [source]) {
      const token = one.current();
      if (token === null) continue;
      const since = new Date(token.obtainedAt).toISOString();
      yield { what: `the token of credential ${config.name}, obtained ${since}`, secret: token.accessToken.reveal() };
    }
  for (const [what, source] of secretSettings(runtime.config)) {
    try {
      yield { what, secret: source.read().reveal() };
    } catch {
      // What cannot be read now is asked for elsewhere.
    }
  }
}
