// `gcg demo`: the gateway with the simulated Genesys Cloud behind it, in one process, without an account; and without a
// file, unless one is named to be rehearsed.

import { loadConfig } from '../../config/load.ts';
import { onOneLine } from '../../config/problem.ts';
import { DEMO_CLIENTS } from '../../sandbox/clients.ts';
import { readDemoFaults } from '../../sandbox/demo-faults.ts';
import { createSandbox } from '../../sandbox/sandbox.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';
import { type Rehearsal, rehearse } from '../rehearsal.ts';
import { serveConfig } from './serve.ts';

/** Runs until a signal, as `serve` does, and prints what to try once it listens. */
export async function demo(args: CommandLine, io: Io): Promise<number> {
  const wanted = args.flags.get('simulate');
  const faults = typeof wanted === 'string' ? readDemoFaults(wanted) : { switches: {} };
  if ('problem' in faults) {
    io.stderr.write(`gcg: --simulate: ${faults.problem}\nTry gcg demo --help.\n`);
    return EXIT.usage;
  }
  if (args.overrides.configPath !== undefined) return rehearseOwn(args, io, faults.switches);
  // The controls are reachable from this machine only, and the simulation holds nothing secret.
  const sandbox = createSandbox({ switches: faults.switches, controls: true });
  const { host, port } = await sandbox.listen();
  try {
    const input = loadInput({ ...io, env: demoEnvironment(io.env, host, port) }, args.overrides);
    const result = loadConfig({ ...input, requireCredential: true, readFile: noFile });
    if (!result.ok) {
      reportProblems(io, result.problems, result.warnings);
      return EXIT.badConfig;
    }
    return await serveConfig(result.config, io, {
      onListening: (addresses) =>
        io.stderr.write(
          invitation({
            address: addresses[0] ?? '',
            simulation: `${host}:${port}`,
            hasPages: result.config.server.adminListen.length > 0,
            env: io.env,
          }),
        ),
    });
  } finally {
    await sandbox.close();
  }
}

/** Serves a configuration of one's own before the simulation, and says what is not as it is written. */
async function rehearseOwn(args: CommandLine, io: Io, switches: Parameters<typeof rehearse>[1]): Promise<number> {
  const rehearsal = await rehearse(loadInput(io, args.overrides), switches);
  if (!rehearsal.ok) {
    reportProblems(io, rehearsal.problems, rehearsal.warnings);
    return EXIT.badConfig;
  }
  try {
    reportProblems(io, [], rehearsal.warnings);
    return await serveConfig(rehearsal.config, io, {
      onListening: (addresses) => io.stderr.write(programme(addresses, rehearsal)),
    });
  } finally {
    await rehearsal.sandbox.close();
  }
}

/** What a rehearsal consists of. */
function programme(addresses: readonly string[], rehearsal: Extract<Rehearsal, { ok: true }>): string {
  const { config, address, clients, replaced } = rehearsal;
  const used = new Map(clients.map((client) => [client.id, client]));
  const credentials = config.credentials.map(({ name, grantType, clientId }) => {
    const secret = used.get(clientId ?? '')?.secret;
    const id = clientId === null ? 'a token of the simulation' : `client id ${clientId}`;
    return `  ${name} (${grantType}): ${id}${secret === undefined ? '' : `, secret ${secret}`}`;
  });
  const callers = config.clients.map(({ name }) => name).join(', ');
  const anonymous = callers === '' || config.server.anonymousCredentials !== null ? 'anonymous ones' : '';
  const proved = callers === '' ? '' : `${callers}, by what the configuration says of them`;
  return onLines(`
A rehearsal of ${config.files[0]}, on ${addresses.join(', ')}.
Genesys Cloud is simulated (${address}): nothing is real, and nothing leaves this machine.

Credentials, registered with the simulation:
${credentials.join('\n')}

Callers: ${[proved, anonymous].filter((words) => words !== '').join('; and ')}.
Replaced or left out: ${[...replaced, 'the store (memory)'].join(', ')}.
Changes of the file count after a restart. This ends all tokens at once, and the gateway gets new ones:

  curl http://${address}/sandbox/controls -H 'Content-Type: application/json' -d '{"do":["expireTokens"]}'

Ctrl-C ends it.

`);
}

/** Each line made safe for a terminal: names and ids come from a file. */
function onLines(text: string): string {
  return text.split('\n').map(onOneLine).join('\n');
}

/** The demo's environment. It is the same everywhere: files and the GCG_ variables of this machine are not read. */
function demoEnvironment({ XDG_STATE_HOME }: Io['env'], host: string, port: number): Record<string, string> {
  const { clientCredentials, pkce } = DEMO_CLIENTS;
  return {
    // Where commands look for the key of the live page.
    ...(XDG_STATE_HOME !== undefined && { XDG_STATE_HOME }),
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
    // Others may call it where somebody lets it listen for them, as in a container: there is nothing of value.
    GCG_SERVER_UNSAFE_ALLOW_ANONYMOUS: 'true',
  };
}

function noFile(path: string): never {
  throw Object.assign(new Error(`no file is read in the demo: ${path}`), { code: 'ENOENT' });
}

/** What a demo tells. */
export interface Demo {
  readonly address: string;
  /** The simulation's address. */
  readonly simulation: string;
  /** The pages for people are served at the address; never where other machines reach it. */
  readonly hasPages: boolean;
  readonly env: Io['env'];
}

/** What to try. */
export function invitation({ address, simulation, hasPages, env }: Demo): string {
  // In a checkout the command need not be installed: `npm run demo` there, and `npm start --` for all others.
  const isByNpm = env.npm_lifecycle_event === 'demo' && env.npm_package_name === 'genesys-cloud-gateway';
  const gcg = isByNpm ? 'npm start --' : 'gcg';
  const listen = address.endsWith('//127.0.0.1:8080') ? '' : ` --listen ${address.replace(/^https?:\/\//, '')}`;
  const query = `-H 'Content-Type: application/json' -d '{"interval":"2026-01-01T00:00Z/2026-01-02T00:00Z"}'`;
  const pages = hasPages
    ? `A person's login: open ${address}/-/login/person in a browser; ${address}/person/api/v2/users/me then answers.
Each call is a line of the log, and on the live page: ${gcg} open${listen}.`
    : 'Each call is a line of the log. Logins and the live page are not served where other machines can call.';
  return `
The gateway listens on ${address}; behind it is a simulated Genesys Cloud (${simulation}).
Nothing here is real, and nothing leaves this machine. Try, in another terminal:

  curl '${address}/api/v2/users?pageSize=2'
  curl ${address}/api/v2/organizations/me
  curl -X POST ${address}/api/v2/analytics/conversations/details/query ${query}
  curl ${address}/readyz

No token was needed: the gateway holds the secret, got one, and put it on each call.
This ends all tokens at once, and the gateway gets new ones (other faults: ${gcg} demo --help):

  curl http://${simulation}/sandbox/controls -H 'Content-Type: application/json' -d '{"do":["expireTokens"]}'

${pages} Ctrl-C ends it.

`;
}
