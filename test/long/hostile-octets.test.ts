// Whatever octets callers and upstream send, thousands of times over: the gateway stays up, blames itself for nothing,
// and tells no secret. SEED=5 npm run test:long sends others.

import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { createCanaries } from '../helpers/canary.ts';
import { createDice, type Dice } from '../helpers/dice.ts';
import { answerHostilely } from '../helpers/hostile-answers.ts';
import { type Gathered, hostileRequest, type Known } from '../helpers/hostile-requests.ts';
import { startRawServer } from '../helpers/raw-http.ts';
import { startServe } from '../helpers/serve-process.ts';

const SEED = Number(process.env.SEED ?? 1);
const REQUESTS = 10_000;
const CALLERS = 24;

t.setTimeout(1_200_000);

for (const [name, lines] of [
  ['anybody may call', () => ''],
  [
    'clients with rules',
    (secret: string) =>
      `[client.crm]\nsecret = ${secret}\ncredential[] = default\ncredential[] = two\nallow[] = *  ` +
      `/api/v2/**\nadmin = true\n`,
  ],
] as const) {
  t.test(`${name}: ${REQUESTS} requests, seed ${SEED}`, { timeout: 600_000 }, async (t) => {
    const dice = createDice(SEED);
    const canaries = createCanaries();
    const upstream = await startRawServer(t, (socket) => answerHostilely(dice, canaries, socket));
    const file = join(t.testdir(), 'gcg.ini');
    writeFileSync(file, configuration(new URL(upstream.origin), canaries.clientSecret, lines(canaries.localSecret)), {
      mode: 0o600,
    });
    const gateway = await startServe(t, file);
    const known = {
      port: Number(new URL(gateway.url).port),
      secret: canaries.localSecret,
      channelId: canaries.channelId,
    };
    const told = [canaries.accessToken, canaries.refreshToken, canaries.clientSecret];
    const telling: string[] = [];
    const statuses = await send(
      dice,
      known,
      (answer) => told.some((secret) => answer.includes(secret)) && telling.push(answer.slice(0, 2000)),
    );
    t.strictSame(telling.slice(0, 3), [], 'no answer tells a secret');
    t.comment(
      [...statuses]
        .sort(([, a], [, b]) => b - a)
        .map(([status, count]) => `${status}: ${count}`)
        .join('  '),
    );
    t.ok((statuses.get('200') ?? 0) > REQUESTS / 500, 'some of it makes sense');

    t.equal(gateway.child.exitCode, null, gateway.output().slice(-2000));
    t.equal((await fetch(`${gateway.url}/livez`)).status, 200, 'it is still there');
    t.equal(await gateway.end('SIGTERM'), 0);
    const output = gateway.output();
    const records = output.split('\n').filter((line) => line !== '');
    const strange = records.filter((line) => !line.startsWith('{') && !line.startsWith('warning:'));
    t.same(strange, [], 'nothing but records');
    t.same(records.filter((line) => line.includes('gateway.internal')).slice(0, 3), [], 'no failure of its own');
    // What was spoilt on its way here can be recognised by nobody: the local secret and the channel are left out.
    const kept = canaries
      .scan(output)
      .filter(({ kind }) => ['accessToken', 'refreshToken', 'clientSecret'].includes(kind));
    t.same(kept, [], 'the log tells no secret');
  });
}

const configuration = ({ hostname, port }: URL, secret: string, lines: string) =>
  `[gateway]\nprotocol = http\nhost = ${hostname}\nport = ${port}
[server]\nlisten = 127.0.0.1:0\nheader_timeout = 3
[credential]\nclient_id = id\nclient_secret = "${secret}"
[credential.two]\ngrant_type = saml2_bearer\nclient_id = id\nclient_secret = "${secret}"\norg_name = o\nassertion = PHg+
[store]\ntype = memory
[logging]\nlog_level = trace\nlog_request_body = true\nlog_response_body = true
[timeouts]\nheaders = 2\nbody = 2\ntotal_wait = 3
[reauthentication]\nrefresh_token_wait_max = 2
${lines}`;

async function send(dice: Dice, known: Known, look: (answer: string) => void): Promise<Map<string, number>> {
  const gathered: Gathered = { handle: 'gcgh_unknown', refreshHandle: 'gcgr_unknown' };
  const statuses = new Map<string, number>();
  let left = REQUESTS;
  const caller = async () => {
    while (left > 0) {
      left -= 1;
      const answer = await exchange(dice, known, gathered);
      if (/"(access_token|refresh_token)"|gcgh_/.test(answer)) gather(answer, gathered);
      look(answer);
      const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'none';
      const code = /^x-gateway-error: (\S+)/im.exec(answer)?.[1];
      const key = code === undefined ? status : `${status} ${code}`;
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return statuses;
}

function gather(answer: string, gathered: Gathered): void {
  gathered.handle = /"access_token":"(gcgh_[^"]+)"/.exec(answer)?.[1] ?? gathered.handle;
  gathered.refreshHandle = /"refresh_token":"(gcgr_[^"]+)"/.exec(answer)?.[1] ?? gathered.refreshHandle;
}

/** One connection, with one or two requests, whole or in pieces or left early; resolves with what came back. */
function exchange(dice: Dice, known: Known, gathered: Gathered): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(known.port, '127.0.0.1', () => {
      const first = hostileRequest(dice, known, gathered);
      const one = dice.chance(0.25) ? dice.spoil(first) : first;
      const octets = dice.chance(0.1) ? Buffer.concat([one, hostileRequest(dice, known, gathered)]) : one;
      const cut = dice.chance(0.1) ? octets.length >> 1 : octets.length;
      socket.write(octets.subarray(0, cut), () => cut < octets.length && socket.write(octets.subarray(cut)));
      const leaving = dice.int(20);
      if (leaving < 2) socket.end();
      else if (leaving < 3) socket.resetAndDestroy();
    });
    const patience = setTimeout(() => socket.destroy(), dice.pick([20, 50, 100, 500]));
    socket.setEncoding('latin1');
    socket.on('data', (text) => {
      answer += text;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(patience);
      resolve(answer);
    });
  });
}
