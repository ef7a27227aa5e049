// POST /oauth/token: reads the form strictly, applies the token endpoint's switches, carries out the grant, answers.
// What each grant demands is grants.ts; the odd answers are token-faults.ts.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { authenticateClient } from './client-auth.ts';
import type { SandboxRequest } from './events.ts';
import { createGoneSignal, readBody, send } from './exchange.ts';
import { isOAuthError, OAuthError } from './faults.ts';
import { nameGrant, performGrant, type TokenForm } from './grants.ts';
import { formatRetryAfter, type RetryAfter } from './switches.ts';
import { answerBeforeGrant, answerReply } from './token-faults.ts';
import type { World } from './world.ts';

/** Room for a SAML assertion and no more. */
const MAX_FORM_BYTES = 256 * 1024;

/** Answers one token request. Never rejects: a client that leaves is counted as `fault:gone`. */
export async function answerToken(world: World, req: IncomingMessage, res: ServerResponse, record: SandboxRequest): Promise<void> {
  const leave = world.stats.enter('token');
  const gone = createGoneSignal(res);
  res.once('close', leave);
  res.setHeader('ININ-Correlation-Id', record.correlationId);
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Pragma', 'no-cache');
  res.setHeader('Access-Control-Allow-Origin', '*');
  let result = 'ok';
  try {
    const form = await readForm(req);
    record.grant = nameGrant(form);
    const call = { method: 'POST', path: '/oauth/token' };
    const throttle = world.switches.take('throttleLogin', call);
    if (throttle) throw throttled(world, res, throttle);
    const fault = world.switches.take('tokenEndpoint', call);
    if (fault) {
      result = `fault:${fault.fault}`;
      if (await answerBeforeGrant(world, res, record, fault, gone)) return;
    }
    const authenticated = authenticateClient(req.headers.authorization, form.get('client_id'), world.clients);
    record.clientId = authenticated.client.id;
    const { reply, token } = performGrant(world, form, authenticated);
    record.tokenSerial = token.serial;
    const { expiresIn } = world.switches.now;
    const { expires_in, ...rest } = reply;
    const told = expiresIn === null ? { expires_in } : 'value' in expiresIn ? { expires_in: expiresIn.value } : {};
    await answerReply(world, res, { ...rest, ...told }, fault, gone);
  } catch (error) {
    result = await answerFailure(res, gone, error);
  } finally {
    world.stats.tokenRequest(record.grant ?? 'unknown', result);
  }
}

async function answerFailure(res: ServerResponse, gone: AbortSignal, error: unknown): Promise<string> {
  if (gone.aborted || res.headersSent || res.socket?.destroyed !== false) return 'fault:gone';
  const refusal = isOAuthError(error) ? error : new OAuthError('server_error', 'the simulation failed');
  await send(res, isOAuthError(error) ? 400 : 500, 'application/json', Buffer.from(JSON.stringify(refusal.body())));
  return refusal.error;
}

async function readForm(req: IncomingMessage): Promise<TokenForm> {
  const type = req.headers['content-type'] ?? '';
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type))
    throw new OAuthError('invalid_request', 'the body must be application/x-www-form-urlencoded');
  const body = await readBody(req, MAX_FORM_BYTES, () => new OAuthError('invalid_request', 'the body is too large'));
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body.toString('utf8'))) {
    if (form.has(name)) throw new OAuthError('invalid_request', 'a field is given twice');
    form.set(name, value);
  }
  if (!form.has('grant_type')) throw new OAuthError('invalid_request', 'grant_type is missing');
  return form;
}

/** The platform throttles logins with 400, not 429. */
function throttled(world: World, res: ServerResponse, wanted: RetryAfter): OAuthError {
  const retryAfter = formatRetryAfter(wanted, world.clock.now());
  if (retryAfter !== undefined) res.setHeader('Retry-After', retryAfter);
  return new OAuthError('invalid_request', 'rate limit exceeded; too many login requests');
}
