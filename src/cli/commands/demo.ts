// `gcg demo`: the gateway with the simulated Genesys Cloud behind it, in one process, without a file or an account.

import { loadConfig } from '../../config/load.ts';
import { DEMO_CLIENTS } from '../../sandbox/clients.ts';
import { createSandbox } from '../../sandbox/sandbox.ts';
import { readDemoFaults } from '../../sandbox/switches.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';
import { serveConfig } from './serve.ts';

/** Runs until a signal, as `serve` does, and prints what to try once it listens. */
export async function demo(args: CommandLine, io: Io): Promise<number> {
  const wanted = args.flags.get('simulate');
  const faults = typeof wanted === 'string' ? readDemoFaults(wanted) : { switches: {} };
  if ('problem' in faults) {
    io.stderr.write(`gcg: --simulate: ${faults.problem}\nTry gcg demo --help.\n`);
    return EXIT.usage;
  }
  // The controls are reachable from this machine only, and the simulation holds nothing secret.
  const sandbox = createSandbox({ switches: faults.switches, controls: true });
  const { host, port } = await sandbox.listen();
  try {
    const input = loadInput({ ...io, env: demoEnvironment(host, port) }, args.overrides);
    const result = loadConfig({ ...input, requireCredential: true, readFile: noFile });
    if (!result.ok) {
      reportProblems(io, result.problems, result.warnings);
      return EXIT.badConfig;
    }
    return await serveConfig(result.config, io, {
      onListening: (addresses) => io.stderr.write(invitation(addresses[0] ?? '', `${host}:${port}`)),
    });
  } finally {
    await sandbox.close();
  }
}

/** The demo's environment. It is the same everywhere: files and the GCG_ variables of this machine are not read. */
function demoEnvironment(host: string, port: number): Record<string, string> {
  const { clientCredentials, pkce } = DEMO_CLIENTS;
  return {
    GCG_GATEWAY_HOST: host,
    GCG_GATEWAY_PORT: String(port),
    GCG_GATEWAY_PROTOCOL: 'http',
    GCG_PROXY_OFF: 'true',
    GCG_STORE_TYPE: 'memory',
    GCG_CREDENTIAL_GRANT_TYPE: 'client_credentials',
    GCG_CREDENTIAL_CLIENT_ID: clientCredentials.id,
    GCG_CREDENTIAL_CLIENT_SECRET: clientCredentials.secret ?? '',
    GCG_CREDENTIAL_PERSON_GRANT_TYPE: 'pkce',
    GCG_CREDENTIAL_PERSON_CLIENT_ID: pkce.id,
    GCG_SERVER_ANONYMOUS_CREDENTIALS: '*',
  };
}

function noFile(path: string): never {
  throw Object.assign(new Error(`no file is read in the demo: ${path}`), { code: 'ENOENT' });
}

function invitation(address: string, simulation: string): string {
  const query = `-H 'Content-Type: application/json' -d '{"interval":"2026-01-01T00:00Z/2026-01-02T00:00Z"}'`;
  return `
The gateway listens on ${address}; behind it is a simulated Genesys Cloud (${simulation}).
Nothing here is real, and nothing leaves this machine. Try, in another terminal:

  curl '${address}/api/v2/users?pageSize=2'
  curl ${address}/api/v2/organizations/me
  curl -X POST ${address}/api/v2/analytics/conversations/details/query ${query}
  curl ${address}/readyz

No token was needed: the gateway holds the secret, got one, and put it on each call.
Faults can be turned on: gcg demo --help lists them. All tokens end at once, and the gateway gets new ones, with

  curl http://${simulation}/sandbox/controls -H 'Content-Type: application/json' -d '{"do":["expireTokens"]}'

A person's login: open ${address}/-/login/person in a browser; ${address}/person/api/v2/users/me then answers.
Each call is a line of the log. Ctrl-C ends it.

`;
}
