// The ring of calls: bounded in memory, whole lines, failures kept longer, found by number and by request id.

import fc from 'fast-check';
import t from 'tap';
import { CallRing } from '../../../src/inspector/call-ring.ts';
import { LineRing } from '../../../src/inspector/line-ring.ts';
import type { Call } from '../../../src/inspector/wire.ts';
import type { ServerRuntime } from '../../../src/server/context.ts';
import { usersOfLimit } from '../../../src/server/why-facts.ts';

const lineOf = (requestId: string, more: object = {}) => `${JSON.stringify({ level: 'info', requestId, ...more })}\n`;
const callOf = (kept: { json: string } | null) => (kept === null ? null : (JSON.parse(kept.json) as Call));

t.test(
  'whatever is written, the newest texts are there, whole and in order, and their memory is bounded',
  async (t) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 4_000 }),
        fc.array(fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme', size: 'max' }), {
          maxLength: 200,
          size: 'max',
        }),
        (bytes, texts) => {
          const ring = new LineRing(bytes);
          const taken: { seq: number; text: string }[] = [];
          for (const [at, text] of texts.entries()) {
            const isTaken = ring.add(at + 1, text);
            if (isTaken !== Buffer.byteLength(text) <= bytes / 4) return false;
            if (isTaken) taken.push({ seq: at + 1, text });
          }
          const kept = taken.slice(taken.length - ring.count);
          const size = kept.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
          const walked = [];
          for (let one = ring.below(Number.POSITIVE_INFINITY); one !== null; one = ring.below(one.seq))
            walked.push(one);
          t.strictSame(walked.reverse(), kept);
          for (const one of kept) t.strictSame(ring.get(one.seq), one);
          t.equal(ring.count + ring.dropped, taken.length);
          t.equal(ring.oldest, kept[0]?.seq ?? null);
          t.equal(ring.newest, kept.at(-1)?.seq ?? null);
          // A quarter is lost at most where a text did not fit any more, another where one was written over.
          const isUsed = ring.dropped === 0 || ring.count >= bytes / 256 || size >= bytes / 2;
          return size <= bytes && isUsed;
        },
      ),
      { numRuns: 100 },
    );
  },
);

t.test('a failure outlives the calls that push it out, and is found by number and by id', async (t) => {
  const ring = new CallRing({ bytes: 4_096, failureBytes: 1_024 });
  const failed = ring.add(lineOf('failed', { status: 500 }), true);
  for (let at = 0; at < 500; at++) ring.add(lineOf(`fine-${at}`, { status: 200 }), false);
  t.equal(failed, 1);
  t.match(callOf(ring.get(1)), { seq: 1, requestId: 'failed' });
  t.match(callOf(ring.byRequestId('failed')), { seq: 1, status: 500 });
  t.equal(ring.byRequestId('fine-0'), null);
  t.match(callOf(ring.byRequestId('fine-499')), { seq: 501 });
  t.equal(ring.oldest, 1);
  t.equal(ring.newest, 501);
  t.ok((ring.wholeSince?.seq ?? 0) > 400, 'from here on all are kept');
  const seen = [];
  for (let one = ring.below(Number.POSITIVE_INFINITY); one !== null; one = ring.below(one.seq)) seen.push(one.seq);
  t.equal(seen.at(-1), 1);
  t.equal(new Set(seen).size, seen.length, 'one that is in both is seen once');
});

t.test('an id is not found in the value of another field, nor in what fell out', async (t) => {
  const ring = new CallRing({ bytes: 4_096, failureBytes: 1_024 });
  ring.add(lineOf('gone'), false);
  ring.add(lineOf('mine', { path: '/x?"requestId":"other"', error: '"requestId":"other' }), true);
  t.equal(ring.byRequestId('other'), null);
  for (let at = 0; at < 200; at++) ring.add(lineOf(`fine-${at}`), false);
  t.equal(ring.byRequestId('gone'), null);
  t.equal(ring.byRequestId('mine')?.seq, 2);
});

t.test('numbers may be given, and still rise', async (t) => {
  let least = 0;
  const ring = new CallRing({ bytes: 4_096, failureBytes: 1_024, number: () => least });
  const seqs = [0, 0, 700, 700, 5, 900].map((given) => {
    least = given;
    const { present } = ring;
    const seq = ring.add('{"a":1}\n', false);
    return [seq, seq > present];
  });
  t.strictSame(
    seqs,
    [1, 2, 700, 701, 702, 900].map((seq) => [seq, true]),
  );
  t.equal(ring.lostUpTo, 0);
  while (ring.lostUpTo < 702) ring.add(`{"a":"${'x'.repeat(200)}"}\n`, false);
  t.equal(ring.get(702), null);
  ring.clear();
  t.equal(ring.lostUpTo, ring.lastSeq);
});

t.test('what is cleared is gone, its octets too, and numbers go on', async (t) => {
  const ring = new CallRing({ bytes: 4_096, failureBytes: 1_024 });
  ring.add(lineOf('one'), true);
  ring.clear();
  t.equal(ring.get(1), null);
  t.equal(ring.byRequestId('one'), null);
  t.equal(ring.oldest, null);
  t.equal(ring.wholeSince, null);
  t.equal(ring.add(lineOf('two'), false), 2);
});

t.test('who used a limit is counted over thousands of calls while others have their turn', async (t) => {
  const ring = new CallRing({ bytes: 4 * 1024 * 1024, failureBytes: 1024 });
  const time = new Date(0).toISOString();
  const of = (client: string, status: number) => {
    const call = { client, status, time, attempts: 1, durationMs: 0, queueMs: 0, tokenWaitMs: 0, source: 'upstream' };
    return { ...call, padding: 'x'.repeat(600) };
  };
  for (let at = 0; at < 3_000; at++) ring.add(`${JSON.stringify(of(at % 3 === 0 ? 'etl' : 'crm', 200))}\n`, false);
  const seq = ring.add(`${JSON.stringify(of('crm', 429))}\n`, false);
  const call = { ...of('crm', 429), seq } as unknown as Call;
  const runtime = { config: { logging: { level: 'info' } } } as unknown as ServerRuntime;
  let isOver = false;
  let turns = 0;
  const turn = () => {
    turns += 1;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const used = await usersOfLimit(call, ring, runtime, { sees: 'all', client: null }, () => true);
  isOver = true;
  t.strictSame(used, [
    { client: 'crm', calls: 2_000 },
    { client: 'etl', calls: 1_000 },
  ]);
  t.ok(turns > 0, 'it gave way');
  const own = await usersOfLimit(call, ring, runtime, { sees: 'own', client: 'etl' }, () => true);
  t.strictSame(own, [{ client: 'etl', calls: 1_000 }], 'of others nothing is told');
  t.equal(await usersOfLimit(call, ring, runtime, { sees: 'all', client: null }, () => false), null);
});
