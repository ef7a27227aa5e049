// /api/v2/users: list, read, create, change, delete. Deleting marks, as on the platform; expansions are ignored.

import type { SandboxUser } from '../directory.ts';
import { readJson } from '../exchange.ts';
import { PlatformError } from '../faults.ts';
import { type ApiCall, createPage, type Route } from '../route-table.ts';

/** A user in the platform's shape. */
function renderUser(user: SandboxUser): Record<string, unknown> {
  return {
    id: user.id,
    name: user.name,
    division: {
      id: '0f5e2b6a-0000-4000-8000-0000000000d1',
      name: 'Home',
      selfUri: '/api/v2/authorization/divisions/0f5e2b6a-0000-4000-8000-0000000000d1',
    },
    department: user.department,
    email: user.email,
    primaryContactInfo: [{ address: user.email, mediaType: 'EMAIL', type: 'PRIMARY' }],
    addresses: [],
    state: user.state,
    title: user.title,
    username: user.email,
    version: user.version,
    acdAutoAnswer: false,
    selfUri: `/api/v2/users/${user.id}`,
  };
}

/** The user of a token. Client credentials have none, which the platform answers with 400. */
function requireUser({ token, sandbox }: Pick<ApiCall, 'token' | 'sandbox'>): SandboxUser {
  const user = token.userId === undefined ? undefined : sandbox.directory.find(token.userId);
  if (user) return user;
  const message =
    'This request requires a user context. Client credentials cannot be used for requests that require a user context.';
  throw new PlatformError(400, 'bad.request', message);
}

function findUser({ sandbox, params }: ApiCall): SandboxUser {
  const user = sandbox.directory.find(params.userId ?? '');
  if (!user) throw new PlatformError(404, 'not.found', 'The requested resource was not found.');
  return user;
}

function listUsers(call: ApiCall): Promise<void> {
  const ids = call.query.getAll('id').flatMap((text) => text.split(','));
  const state = call.query.get('state') ?? 'active';
  const users = call.sandbox.directory
    .list()
    .filter((user) => (state === 'any' || user.state === state) && (ids.length === 0 || ids.includes(user.id)));
  return call.reply(200, createPage(call, users.map(renderUser)));
}

const FIELDS = ['name', 'email', 'title', 'department'] as const;
const LONGEST_TEXT = 1000;

/**
 * Returns the fields of a user that are in `body`. Throws PlatformError 400 for one that is no text or too long, 409
 * for an email in use.
 */
function readFields(call: ApiCall, body: Record<string, unknown>): Partial<Pick<SandboxUser, (typeof FIELDS)[number]>> {
  const fields: Partial<Record<(typeof FIELDS)[number], string>> = {};
  for (const field of FIELDS) {
    const value = body[field];
    if (value === undefined || value === null || value === '') continue;
    if (typeof value !== 'string' || value.length > LONGEST_TEXT) {
      throw new PlatformError(400, 'bad.request', `${field} is not a text of at most ${LONGEST_TEXT} characters.`);
    }
    fields[field] = value;
  }
  const { email } = fields;
  if (email === undefined) return fields;
  if (!/^[^@\s]+@[^@\s]+$/.test(email)) throw new PlatformError(400, 'bad.request', 'email is not an address.');
  const owner = call.sandbox.directory.findByEmail(email);
  if (owner && owner.id !== call.params.userId)
    throw new PlatformError(409, 'general.conflict', 'A user with this email already exists.');
  return fields;
}

async function createUser(call: ApiCall): Promise<void> {
  const { name, email, title = '', department = '' } = readFields(call, await readJson(call.req));
  if (name === undefined || email === undefined) {
    throw new PlatformError(400, 'bad.request', 'name and email are required.', {
      details: [{ errorCode: 'required', fieldName: 'email' }],
    });
  }
  const user = call.sandbox.directory.add({ name, email, title, department });
  if (!user) throw new PlatformError(400, 'bad.request', 'The simulation holds no more users.');
  await call.reply(200, renderUser(user));
}

async function changeUser(call: ApiCall): Promise<void> {
  const user = findUser(call);
  const body = await readJson(call.req);
  if (typeof body.version === 'number' && body.version !== user.version) {
    throw new PlatformError(409, 'general.conflict', 'The version is not the current one.');
  }
  Object.assign(user, readFields(call, body));
  if (body.state === 'active' || body.state === 'inactive') user.state = body.state;
  user.version++;
  await call.reply(200, renderUser(user));
}

async function deleteUser(call: ApiCall): Promise<void> {
  const user = findUser(call);
  user.state = 'deleted';
  user.version++;
  await call.reply(200, {});
}

export const userRoutes: readonly Route[] = [
  { template: 'GET /api/v2/users', handle: listUsers },
  { template: 'HEAD /api/v2/users', handle: listUsers },
  { template: 'POST /api/v2/users', needs: { any: ['directory:user:add'] }, handle: createUser },
  { template: 'GET /api/v2/users/me', handle: (call) => call.reply(200, renderUser(requireUser(call))) },
  { template: 'GET /api/v2/users/{userId}', handle: (call) => call.reply(200, renderUser(findUser(call))) },
  { template: 'HEAD /api/v2/users/{userId}', handle: (call) => call.reply(200, renderUser(findUser(call))) },
  {
    template: 'PATCH /api/v2/users/{userId}',
    needs: { any: ['admin', 'directory:user:edit', 'directory:organization:admin'] },
    handle: changeUser,
  },
  {
    template: 'DELETE /api/v2/users/{userId}',
    needs: { any: ['admin', 'directory:user:delete', 'directory:organization:admin'] },
    handle: deleteUser,
  },
];
