// The switches over HTTP, for a simulation in another process: GET and POST /sandbox/controls. Absent unless `controls`
// is set. Not for web pages: a request with an Origin is refused, and POST must be JSON.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SandboxStats } from './events.ts';
import { readJson, sendJson } from './exchange.ts';
import { isPlatformError, PlatformError } from './faults.ts';
import type { Switches } from './switches.ts';

/** What the controls may do. */
export interface Controls {
  set(changes: Partial<Switches>): void;
  readonly switches: Readonly<Switches>;
  readonly stats: SandboxStats;
  resetStats(): void;
  release(): number;
  expireTokens(): number;
  revokeTokens(which: () => boolean): number;
  heartbeat(): Promise<void>;
}

/**
 * Answers one control request. POST takes `{"set": {switch: value}, "do": ["expireTokens", "revokeTokens", "release",
 * "resetStats", "heartbeat"]}`, does both in that order, and answers with switches and stats, as GET does. Never
 * rejects.
 */
export async function answerControls(controls: Controls, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const actions: Record<string, () => unknown> = {
    expireTokens: () => controls.expireTokens(),
    revokeTokens: () => controls.revokeTokens(() => true),
    release: () => controls.release(),
    resetStats: () => controls.resetStats(),
    heartbeat: () => controls.heartbeat(),
  };
  try {
    if (req.headers.origin !== undefined)
      throw new PlatformError(403, 'not.authorized', 'Web pages may not use the controls.');
    if (req.method === 'POST') {
      const { set = {}, do: wanted = [], ...rest } = await readJson(req);
      const names: unknown[] = Array.isArray(wanted) ? wanted : [wanted];
      const unknown = [
        ...Object.keys(rest),
        ...names.filter((name) => typeof name !== 'string' || !Object.hasOwn(actions, name)),
      ];
      if (unknown.length > 0)
        throw new PlatformError(400, 'bad.request', `The controls do not know ${unknown.join(', ')}.`);
      if (typeof set !== 'object' || set === null) throw new PlatformError(400, 'bad.request', 'set is not an object.');
      setSwitches(controls, set);
      for (const name of names) await actions[String(name)]?.();
    } else if (req.method !== 'GET') throw new PlatformError(405, 'bad.request', 'The controls know GET and POST.');
    await sendJson(req, res, 200, { switches: controls.switches, stats: controls.stats });
  } catch (error) {
    const refusal = isPlatformError(error)
      ? error
      : new PlatformError(500, 'internal.server.error', 'The simulation failed.');
    if (!res.headersSent) await sendJson(req, res, refusal.status, refusal.body(''));
  }
}

function setSwitches(controls: Controls, changes: object): void {
  try {
    controls.set(changes);
  } catch (error) {
    throw new PlatformError(
      400,
      'bad.request',
      error instanceof TypeError ? error.message : 'A switch could not be set.',
    );
  }
}
