// /api/v2/notifications/channels: channels and their subscriptions. The streaming host has their sockets.

import { type Channel, TOPICS_PER_CHANNEL } from '../channels.ts';
import { readBody } from '../exchange.ts';
import { PlatformError } from '../faults.ts';
import { covers } from '../permissions.ts';
import type { ApiCall, Route } from '../route-table.ts';

function ownerOf({ token }: ApiCall): string {
  return `${token.userId ?? ''}:${token.clientId}`;
}

function renderChannel({ streamingBase }: ApiCall, channel: Channel): Record<string, string> {
  return {
    connectUri: `${streamingBase}/channels/${channel.id}`,
    id: channel.id,
    expires: new Date(channel.expiresAt).toISOString(),
  };
}

function findChannel(call: ApiCall): Channel {
  const channel = call.sandbox.channels.find(call.params.channelId ?? '');
  if (!channel || channel.owner !== ownerOf(call))
    throw new PlatformError(404, 'not.found', 'The requested resource was not found.');
  return channel;
}

function renderTopics(channel: Channel): Record<string, unknown> {
  return {
    entities: [...channel.topics].map((id) => ({
      id,
      selfUri: `/api/v2/notifications/channels/${channel.id}/subscriptions/${id}`,
    })),
  };
}

/** Adds to the subscriptions, or puts new ones in their place. */
async function subscribe(call: ApiCall, replace: boolean): Promise<void> {
  const channel = findChannel(call);
  const wanted = await readTopics(call);
  const isRefused = (topic: string) => refusedTopic(topic, call.sandbox.switches.now.permissions) !== null;
  const accepted = wanted.filter((topic) => !isRefused(topic));
  const topics = new Set(replace ? accepted : [...channel.topics, ...accepted]);
  if (topics.size > TOPICS_PER_CHANNEL)
    throw new PlatformError(400, 'bad.request', `A channel takes ${TOPICS_PER_CHANNEL} topics.`);
  channel.topics = topics;
  const refused = wanted.flatMap((topic) => refusedTopic(topic, call.sandbox.switches.now.permissions) ?? []);
  await call.reply(200, { entities: [...(renderTopics(channel).entities as unknown[]), ...refused] });
}

/** Topics of queues need a permission; the platform refuses a topic inside an answer of 200. */
function refusedTopic(id: string, granted: readonly string[] | null): Record<string, unknown> | null {
  if (granted === null || !id.startsWith('v2.routing.queues.')) return null;
  if (granted.some((grant) => covers(grant, QUEUE_TOPICS))) return null;
  return { id, state: 'Rejected', rejectionReason: 'Missing permissions', missingPermissions: [QUEUE_TOPICS] };
}

const QUEUE_TOPICS = 'routing:queue:view';

async function readTopics({ req }: ApiCall): Promise<string[]> {
  let body: unknown;
  try {
    body = JSON.parse((await readBody(req)).toString('utf8'));
  } catch (error) {
    if (error instanceof PlatformError) throw error;
  }
  if (!Array.isArray(body)) throw new PlatformError(400, 'bad.request', 'The request body is not a list of topics.');
  return body.map((entry: unknown) => {
    const id = typeof entry === 'object' && entry !== null && 'id' in entry ? entry.id : undefined;
    if (typeof id !== 'string' || id === '' || id.length > 1000)
      throw new PlatformError(400, 'bad.request', 'A topic without an id.');
    return id;
  });
}

const SUBSCRIPTIONS = '/api/v2/notifications/channels/{channelId}/subscriptions';

export const notificationRoutes: readonly Route[] = [
  {
    template: 'POST /api/v2/notifications/channels',
    handle: (call) =>
      call.reply(200, renderChannel(call, call.sandbox.channels.open({ owner: ownerOf(call), token: call.token }))),
  },
  {
    template: 'GET /api/v2/notifications/channels',
    handle: (call) =>
      call.reply(200, {
        entities: call.sandbox.channels.ownedBy(ownerOf(call)).map((channel) => renderChannel(call, channel)),
      }),
  },
  { template: `GET ${SUBSCRIPTIONS}`, handle: (call) => call.reply(200, renderTopics(findChannel(call))) },
  { template: `POST ${SUBSCRIPTIONS}`, handle: (call) => subscribe(call, false) },
  { template: `PUT ${SUBSCRIPTIONS}`, handle: (call) => subscribe(call, true) },
  {
    template: `DELETE ${SUBSCRIPTIONS}`,
    handle: (call) => {
      findChannel(call).topics.clear();
      return call.reply(200);
    },
  },
];
