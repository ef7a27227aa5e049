// `gcg demo`: what can go wrong in the simulation is off, and is turned on by name.

import t from 'tap';
import { parseCommandLine } from '../../src/cli/args.ts';
import { invitation } from '../../src/cli/commands/demo.ts';
import { run } from '../../src/cli/run.ts';
import { DEMO_FAULT_ROWS, readDemoFaults } from '../../src/sandbox/demo-faults.ts';
import { createSwitchBoard } from '../../src/sandbox/switches.ts';
import { startCommand } from '../helpers/command.ts';

t.test('every fault of the help is a switch of the simulation, with a usual value', async (t) => {
  t.equal(DEMO_FAULT_ROWS.length, 11);
  const help = parseCommandLine(['demo', '--help']);
  for (const [written, doc] of DEMO_FAULT_ROWS) {
    t.match(help, { kind: 'help' });
    t.ok(help.kind === 'help' && help.text.includes(written) && help.text.replace(/\s+/g, ' ').includes(doc), written);
    const found = readDemoFaults(written.replace(/\[.*/, ''));
    t.ok('switches' in found && Object.keys(found.switches).length === 1, written);
    if ('switches' in found) createSwitchBoard(found.switches);
  }
});

t.test('values and lists are read, and several flags are one list', async (t) => {
  t.strictSame(readDemoFaults('rate-limit=60, slow=5,rotation'), {
    switches: { rateLimit: { perMinute: 60 }, latencyMs: 5, rotation: 'strict' },
  });
  t.match(readDemoFaults('rate-limit=60,service-limit,org-limit=90'), {
    switches: {
      rateLimit: {
        perMinute: 60,
        services: [
          { namespace: 'directory', key: 'user.rate.per.minute', perMinute: 180 },
          { namespace: 'routing', key: 'org.rate.per.minute', perMinute: 90, isShared: true },
        ],
      },
    },
  });
  const parsed = parseCommandLine(['demo', '--simulate', 'slow', '--simulate=expire=20']);
  t.equal(parsed.kind === 'run' && parsed.flags.get('simulate'), 'slow,expire=20');
});

t.test('what is no fault, or no number for one, is a mistake in the command line', async (t) => {
  for (const list of [
    '',
    'slow,',
    'explode',
    'slow=',
    'slow=-1',
    'slow=0',
    'slow=1e3',
    'slow=10000000',
    'rotation=1',
    '__proto__',
  ]) {
    t.ok('problem' in readDemoFaults(list), list);
  }
  const said: string[] = [];
  const io = { stdout: { write() {} }, stderr: { write: (text: string) => void said.push(text) } };
  const code = await run(['demo', '--simulate', 'explode'], {
    ...io,
    env: {},
    cwd: '/',
    isTTY: false,
    home: undefined,
    platform: 'linux',
  });
  t.equal(code, 2);
  t.match(said.join(''), /--simulate: there is no such fault; there are rate-limit, service-limit, .*gcg demo --help/s);
});

t.test('it listens for others where it is told to, as in a container: nothing in it is of value', async (t) => {
  // An address of no machine: the step after the one that would refuse.
  const command = startCommand(t, ['demo', '--listen', '192.0.2.1:8080']);
  t.equal(await command.ended, 69);
  t.match(command.stderr(), /192\.0\.2\.1:8080 is not an address of this machine/);
  // The admin pages are not served there, so nobody is sent to them.
  const told = (address: string, hasPages: boolean) =>
    invitation({ address, simulation: '127.0.0.1:1', hasPages, env: {} });
  t.match(told('http://0.0.0.0:8080', false), /not served where .* Ctrl-C ends it/);
  t.notMatch(told('http://0.0.0.0:8080', false), /login\/person|gcg open/);
  t.match(told('http://127.0.0.1:8080', true), /login\/person.*gcg open\. Ctrl-C/s);
});

t.test('a fault that was asked for is seen through the gateway, and the controls turn it off', async (t) => {
  const command = startCommand(t, ['demo', '--listen', '127.0.0.1:0', '--simulate', 'server-error=1']);
  await command.until('Ctrl-C ends it');
  const gateway = /listens on (http:\S+);/.exec(command.stderr())?.[1] ?? '';
  const controls = /curl (http:\S+\/sandbox\/controls)/.exec(command.stderr())?.[1] ?? '';
  const failed = await fetch(`${gateway}/api/v2/organizations/me`);
  t.equal(failed.status, 500);
  t.match(await failed.json(), { code: 'internal.server.error' });
  const headers = { 'content-type': 'application/json' };
  const off = await fetch(controls, {
    method: 'POST',
    headers,
    body: '{"set":{"serverError":null},"do":["expireTokens"]}',
  });
  t.match(await off.json(), { switches: { serverError: null }, stats: { validTokens: 0 } });
  const answer = await fetch(`${gateway}/api/v2/organizations/me`);
  t.equal(answer.status, 200);
  await answer.text();
  command.child.kill('SIGINT');
  t.equal(await command.ended, 0);
});
