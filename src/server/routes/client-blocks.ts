// POST /-/clients/NAME/block and /unblock: refuses a client at once, whatever the configuration says, until it is told
// otherwise. Sockets and sessions of the client end with it.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../../errors.ts';
import type { Exchange } from '../exchange.ts';
import { sendJson } from '../responses.ts';
import { changingExchange } from './access.ts';
import { clientStatuses } from './client-status.ts';

type NamedRequest = FastifyRequest<{ Params: { name: string } }>;

/** Registers both routes. Nothing is read of a body. */
export function registerBlocks(app: FastifyInstance): void {
  app.post('/-/clients/:name/block', (request: NamedRequest, reply) => change(request, reply, true));
  app.post('/-/clients/:name/unblock', (request: NamedRequest, reply) => change(request, reply, false));
}

async function change(request: NamedRequest, reply: FastifyReply, isBlocked: boolean): Promise<void> {
  const exchange = changingExchange(request);
  const { gateway, record, response, caller } = exchange;
  const { name } = request.params;
  assertMayChange(exchange, name, isBlocked);
  const kept = gateway.blocks.set(name, isBlocked);
  // It may fail while the sessions are ended.
  kept.catch(() => undefined);
  const ended = isBlocked ? await endAllOf(exchange, name) : {};
  const what = { requestId: record.requestId, client: name, by: caller.client?.name ?? null, ...ended };
  if (isBlocked) gateway.log.warn(what, 'client blocked');
  else gateway.log.info(what, 'client unblocked');
  await kept;
  reply.hijack();
  record.status = 200;
  const client = clientStatuses(gateway).find((one) => one.name === name) ?? null;
  const { isDurable } = gateway.blocks;
  sendJson(response, 200, { blocked: isBlocked, survivesRestart: isDurable, client }, record);
}

/** Throws for a client there is not, and for one that would lock itself out. */
function assertMayChange({ gateway, caller }: Exchange, name: string, isBlocked: boolean): void {
  const { blocks, runtime } = gateway;
  // What was blocked may have left the configuration since.
  if (runtime.clients.get(name) === undefined && (isBlocked || blocks.since(name) === null))
    throw new GatewayError('gateway.route.not.found', 'there is no client of that name: `gcg client list` shows them');
  if (isBlocked && caller.client?.name === name)
    throw new GatewayError(
      'gateway.request.invalid',
      'a client cannot block itself, since it could not undo that: let another admin do it, or remove its section',
    );
}

/** Ends what the client has open. Its handles are refused while the block lasts. */
async function endAllOf(
  { gateway }: Exchange,
  name: string,
): Promise<{ readonly sockets: number; readonly sessions: number }> {
  const { openSockets, runtime } = gateway;
  const ending = runtime.sessions.endOf(name);
  let sockets = 0;
  openSockets.review((owner) => {
    if (owner.caller.client?.name !== name) return null;
    sockets += 1;
    return runtime.authenticator.revalidate(owner.caller, owner.arrival, owner.peer);
  });
  gateway.inspector?.feed.review();
  return { sockets, sessions: await ending };
}
