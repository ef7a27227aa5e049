// Routes about the token itself, the organisation and its permissions, and one analytics query.

import { readJson } from '../exchange.ts';
import { PlatformError } from '../faults.ts';
import { listLimits } from '../rate-limiter.ts';
import type { ApiCall, Route } from '../route-table.ts';
import { endLogin } from '../token-endpoint.ts';

function organizationReference({ sandbox }: ApiCall): { id: string; name: string } {
  const { id, name } = sandbox.directory.organization;
  return { id, name };
}

/** The platform's TokenInfo: it names no user, whoever has logged in. */
function describeToken(call: ApiCall): Promise<void> {
  const { token, sandbox } = call;
  const organization = organizationReference(call);
  return call.reply(200, {
    organization: token.target === undefined ? organization : { id: token.target, name: 'Authorized organization' },
    homeOrganization: organization,
    authorizedScope: token.scope ?? [],
    OAuthClient: {
      id: token.clientId,
      name: sandbox.clients.find(token.clientId)?.name ?? 'Simulated client',
      organization,
    },
  });
}

/** Revokes the caller's own token, and with it the login it came from. */
async function endToken(call: ApiCall): Promise<void> {
  const { token, sandbox } = call;
  sandbox.tokens.revoke((candidate) => candidate.serial === token.serial);
  if (token.familyId !== undefined) endLogin(sandbox, token.familyId);
  sandbox.channels.closeOrphans(sandbox.tokens);
  await call.reply(200);
}

/** Conversations begin a little later than the interval, and dates end in the year 275760. */
const LATEST_START_MS = 8.64e15 - 3_600_000;

/** A query always finds the same three conversations, inside the interval that was asked for. */
async function queryConversations(call: ApiCall): Promise<void> {
  const { interval, paging } = await readJson(call.req);
  const start = typeof interval === 'string' ? Date.parse(interval.split('/')[0] ?? '') : Number.NaN;
  if (!(Math.abs(start) <= LATEST_START_MS))
    throw new PlatformError(400, 'bad.request', 'interval is missing or not an ISO 8601 interval.');
  const pageNumber =
    typeof paging === 'object' && paging !== null && 'pageNumber' in paging ? Number(paging.pageNumber) : 1;
  const conversations = [1, 2, 3].map((index) => ({
    conversationId: `c0117e55-0000-4000-8000-${String(index).padStart(12, '0')}`,
    conversationStart: new Date(start + index * 60_000).toISOString(),
    conversationEnd: new Date(start + index * 120_000).toISOString(),
    originatingDirection: 'inbound',
    participants: [],
  }));
  await call.reply(200, pageNumber > 1 ? { totalHits: 3 } : { conversations, totalHits: conversations.length });
}

export const organizationRoutes: readonly Route[] = [
  { template: 'GET /api/v2/tokens/me', handle: describeToken },
  { template: 'HEAD /api/v2/tokens/me', handle: (call) => call.reply(200) },
  { template: 'DELETE /api/v2/tokens/me', handle: endToken },
  {
    template: 'GET /api/v2/organizations/me',
    handle: (call) => {
      const { id, name, shortName } = call.sandbox.directory.organization;
      return call.reply(200, {
        id,
        name,
        thirdPartyOrgName: shortName,
        domain: shortName,
        state: 'active',
        version: 1,
        selfUri: `/api/v2/organizations/${id}`,
      });
    },
  },
  {
    template: 'GET /api/v2/organizations/limits/namespaces/{namespaceName}',
    handle: (call) =>
      call.reply(200, { entities: listLimits(call.params.namespaceName ?? '', call.sandbox.switches.now.rateLimit) }),
  },
  {
    template: 'POST /api/v2/analytics/conversations/details/query',
    needs: { any: ['analytics:conversationDetail:view', 'analytics:agentConversationDetail:view'] },
    handle: queryConversations,
  },
];
