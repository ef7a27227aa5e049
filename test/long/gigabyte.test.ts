// A gigabyte down and up, with readers that stall, passes in constant memory: little above idle, and no more than a
// quarter of it takes.

import { request } from 'node:http';
import t, { type Test } from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import { type ChildGateway, startChildGateway } from '../helpers/child-gateway.ts';
import { openCaller } from '../helpers/raw-caller.ts';

const MiB = 1024 * 1024;

if (process.platform !== 'linux') t.comment('SKIPPED: memory is read from /proc');
else t.test('a gigabyte', measure);

async function measure(t: Test) {
  const sandbox = createSandbox();
  const { origin } = await sandbox.listen();
  t.teardown(() => sandbox.close());
  const gateway = await startChildGateway(t, origin, sandbox.issueToken().value);

  await download(gateway.port, MiB);
  await upload(gateway.port, MiB);
  const idle = gateway.residentMiB();
  t.comment(`idle: ${idle.toFixed(1)} MiB`);

  // One reader that takes nothing at all, throughout.
  const stalled = await openCaller(t, gateway.port);
  stalled.socket.pause();
  stalled.socket.write(`GET /api/v2/sandbox/bytes?size=${1024 * MiB} HTTP/1.1\r\nHost: localhost\r\n\r\n`);

  for (const [name, run] of [
    ['down, counted', (size: number) => download(gateway.port, size)],
    ['down, chunked', (size: number) => download(gateway.port, size, '&chunked=1')],
    ['up, counted', (size: number) => upload(gateway.port, size)],
    ['up, chunked', (size: number) => upload(gateway.port, size, true)],
  ] as const) {
    // The collector decides how high one peak gets, by 20 MiB and more. Memory that grows with the octets would show in
    // every run: the highest of three short ones is compared with the lower of two long ones.
    const quarter = Math.max(...(await peaksOf(gateway, 3, () => run(256 * MiB))));
    const wholes = await peaksOf(gateway, 2, () => run(1024 * MiB));
    const whole = Math.min(...wholes);
    t.comment(
      `${name}: 256 MiB peaks at ${quarter.toFixed(1)} MiB, 1 GiB at ` +
        `${wholes.map((peak) => peak.toFixed(1)).join(' and ')} MiB, idle ${idle.toFixed(1)}`,
    );
    t.ok(Math.max(...wholes) - idle < 128, `${name}: under 128 MiB above idle`);
    t.ok(whole - quarter < 16, `${name}: under 16 MiB more than for 256 MiB`);
  }
}

async function peaksOf(gateway: ChildGateway, times: number, run: () => Promise<void>): Promise<number[]> {
  const peaks: number[] = [];
  for (let time = 0; time < times; time += 1) {
    gateway.peakMiB();
    await run();
    peaks.push(gateway.peakMiB());
  }
  return peaks;
}

/** Reads `size` octets, stopping four times until nothing moves any more. */
function download(port: number, size: number, more = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: `/api/v2/sandbox/bytes?size=${size}${more}`, agent: false }, (answer) => {
      let received = 0;
      let nextStop = size / 5;
      answer.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received < nextStop) return;
        nextStop += size / 5;
        answer.pause();
        setTimeout(() => answer.resume(), 300);
      });
      answer.on('end', () => (received === size ? resolve() : reject(new Error(`${received} octets of ${size}`))));
      answer.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}

/** Writes `size` octets as fast as they are taken. */
function upload(port: number, size: number, chunked = false): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/octet-stream', ...(chunked ? {} : { 'Content-Length': size }) };
    const call = request(
      { host: '127.0.0.1', port, method: 'POST', path: '/api/v2/sandbox/sink', headers, agent: false },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.on('end', () => (JSON.parse(text).bytes === size ? resolve() : reject(new Error(text))));
      },
    );
    call.on('error', reject);
    const block = Buffer.alloc(64 * 1024, 'u');
    let written = 0;
    const pump = () => {
      while (written < size) {
        written += block.length;
        if (!call.write(block)) return;
      }
      call.end();
    };
    call.on('drain', pump);
    pump();
  });
}
