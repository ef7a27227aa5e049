// The feed: who is told what, once, in order; what becomes of those who do not read, of too many calls, and of those who
// come back.

import fc from 'fast-check';
import t from 'tap';
import { CallRing } from '../../../src/inspector/call-ring.ts';
import { Feed } from '../../../src/inspector/feed.ts';
import { type EndedCall, Sampler } from '../../../src/inspector/frames.ts';
import { RunningCalls } from '../../../src/inspector/running.ts';
import type { Call, CaptureState, FeedEvents, Rights, RunningCall } from '../../../src/inspector/wire.ts';
import { createExchangeRecord } from '../../../src/logging/exchange-record.ts';
import { createFakeClock } from '../../helpers/fake-clock.ts';

type Event = { [N in keyof FeedEvents]: { name: N; id: string | null; data: FeedEvents[N] } }[keyof FeedEvents];

/** An outlet that keeps what is written, and holds it back while `isStalled`. */
class TestOutlet {
  isStalled = false;
  isEnded = false;
  isDestroyed = false;
  writableLength = 0;
  text = '';

  write(text: string | Buffer): void {
    this.text += text;
    if (this.isStalled) this.writableLength += text.length;
  }

  end(): void {
    this.isEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  get events(): Event[] {
    return this.text
      .split('\n\n')
      .filter((block) => block !== '' && !block.startsWith(':'))
      .map((block) => {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null;
        return { name: field('event'), id: field('id'), data: JSON.parse(field('data') ?? 'null') } as Event;
      });
  }

  named<N extends keyof FeedEvents>(name: N): FeedEvents[N][] {
    return this.events.filter((event) => event.name === name).map(({ data }) => data as FeedEvents[N]);
  }

  get calls(): readonly Call[] {
    return this.named('calls').flatMap(({ calls }) => calls);
  }

  get paths(): string[] {
    return this.calls.map(({ path }) => path);
  }
}

const ALL: Rights = { sees: 'all', client: null, capture: true, replay: 'safe', clear: true };
const own = (client: string): Rights => ({ sees: 'own', client, capture: false, replay: 'safe', clear: false });

function setUp(bytes = 1 << 20, number = () => 0) {
  const clock = createFakeClock();
  const ring = new CallRing({ bytes, failureBytes: bytes / 4, number });
  const running: RunningCall[] = [];
  const states = new Map<string, Record<string, unknown>>();
  const traced = { now: 0 };
  const capture: { -readonly [K in keyof CaptureState]: CaptureState[K] } = {
    ...{ what: null, until: null, by: 'boss', left: 7, kept: 3, missed: 0 },
  };
  const feed = new Feed({
    instance: 'inst-1',
    version: '1',
    ring,
    clock,
    watch: () => {
      traced.now += 1;
      return () => {
        traced.now -= 1;
      };
    },
    capture: () => capture,
    limits: () => states,
    running: (rights) => {
      const calls = running.filter(({ client }) => rights.sees === 'all' || client === rights.client);
      return { calls, count: calls.length };
    },
  });
  let count = 0;
  const end = (client: string | null = null, status = 200) => {
    count += 1;
    const text = `${JSON.stringify({ ...(client !== null && { client }), path: `/${count}`, status })}\n`;
    const seq = ring.add(text, status >= 400);
    const ended: EndedCall = { seq, client, hasFailed: status >= 400, isTraced: false };
    if (feed.isWatched) feed.ended(ended);
  };
  const watch = async (
    rights: Rights = ALL,
    { since = null as string | null, filter = '', matches = null as ((call: Call) => boolean) | null } = {},
    review: () => Rights | null = () => rights,
  ) => {
    const outlet = new TestOutlet();
    const leave = feed.watch({ outlet, rights, peer: null, filter, matches, review }, since);
    await clock.settle();
    return Object.assign(outlet, { leave });
  };
  return { clock, ring, feed, running, states, capture, traced, end, watch };
}

t.test('who joins is greeted, and told what ends from then on, in frames of a tenth of a second', async (t) => {
  const { clock, end, watch } = setUp();
  end();
  const outlet = await watch();
  t.match(outlet.events, [
    { name: 'hello', id: 'inst-1-1', data: { instance: 'inst-1', oldest: 1, newest: 1, reset: false, watchers: 1 } },
  ]);
  end();
  end(null, 500);
  t.strictSame(outlet.calls, [], 'nothing before the frame');
  await clock.advance(100);
  t.match(outlet.events.slice(1), [{ name: 'calls', id: 'inst-1-3', data: { calls: [{ seq: 2 }, { seq: 3 }] } }]);
  await clock.advance(60_000);
  t.equal(outlet.paths.length, 2, 'once');
  t.equal(outlet.text.split(': ping\n\n').length - 1, 4);
});

t.test('each is told what it may see and has asked for; what it may not see shows nowhere', async (t) => {
  const { clock, feed, running, capture, end, watch } = setUp();
  running.push({ requestId: 'r1', client: 'etl', method: 'GET', path: '/secret', startedAt: '', waitsFor: null });
  const all = await watch();
  const failures = await watch(ALL, { filter: 'status:>=400', matches: ({ status }) => status >= 400 });
  const crm = await watch(own('crm'));
  end('crm');
  end('etl', 500);
  end('etl');
  end(null);
  feed.tell('token', { credential: 'default', toToken: 'fresh' });
  capture.what = 'bodies';
  feed.tellCapture();
  await clock.advance(1_000);
  t.strictSame(all.paths, ['/1', '/2', '/3', '/4']);
  t.strictSame(failures.paths, ['/2']);
  t.strictSame(crm.paths, ['/1']);
  t.match(all.named('running'), [{ calls: [{ requestId: 'r1' }], count: 1 }]);
  t.strictSame(crm.named('running'), [{ calls: [], count: 0 }]);
  t.match([all.named('token'), crm.named('token')], [[{ credential: 'default' }], []]);
  t.match(all.named('capture'), [{ what: 'bodies', by: 'boss', left: 7 }]);
  t.match(crm.named('capture'), [{ what: 'bodies', by: null, left: 0, kept: 0 }], 'that it is done, and not by whom');
  t.match((await watch()).named('capture'), [{ what: 'bodies' }], 'who comes later is told too');
  t.match(all.named('stats'), [{ callsPerSecond: 4, running: 1, watchers: 3 }]);
  t.match(crm.named('stats'), [{ callsPerSecond: 1, running: 0 }]);
  t.match(crm.named('hello'), [{ oldest: null, newest: null }]);
  t.notMatch(crm.text, /etl|secret|"seq":[234]/);
});

t.test('whoever comes back is told what it missed, in order and once, or to read the list again', async (t) => {
  const { clock, ring, end, watch } = setUp();
  for (let at = 0; at < 5; at++) end();
  const back = await watch(ALL, { since: 'inst-1-2' });
  end();
  await clock.advance(100);
  t.match(back.named('hello'), [{ reset: false }]);
  t.strictSame(back.paths, ['/3', '/4', '/5', '/6']);
  for (const since of ['other-2', 'inst-1-99', 'inst-1-2147483648000']) {
    const outlet = await watch(ALL, { since });
    t.match(outlet.named('hello'), [{ reset: true }], since);
    t.strictSame(outlet.calls, []);
    outlet.leave();
  }
  ring.clear();
  t.match((await watch(ALL, { since: 'inst-1-2' })).named('hello'), [{ reset: true }], 'they were cleared');
  t.match((await watch(ALL, { since: 'inst-1-6' })).named('hello'), [{ reset: false }], 'nothing was missed');
});

t.test('whoever comes back misses nothing where numbers are times', async (t) => {
  let now = 1_000;
  const { clock, end, watch } = setUp(1 << 20, () => now);
  const first = await watch(own('crm'));
  t.match(first.text, /^id: inst-1-999$/m, 'the time, and not a call');
  now = 5_000;
  end('etl');
  end('crm');
  await clock.advance(1_000);
  t.match(first.text, /"seq":5001,/);
  now = 9_000;
  await clock.advance(1_000);
  t.match(first.text, /^id: inst-1-8999\nevent: stats$/m, 'it goes on while nothing happens');
  now = 10_000;
  end('crm');
  for (const [since, paths] of [
    ['inst-1-999', ['/2', '/3']],
    ['inst-1-5001', ['/3']],
    ['inst-1-8999', ['/3']],
  ] as const) {
    const back = await watch(own('crm'), { since });
    await clock.advance(100);
    t.match(back.named('hello'), [{ reset: false }], since);
    t.strictSame(back.paths, paths, since);
  }
  t.match((await watch(own('crm'), { since: 'inst-1-10001' })).named('hello'), [{ reset: true }], 'of no time yet');
});

t.test('what ends while the missed calls are looked for comes after them, and once', async (t) => {
  const { clock, end, watch } = setUp(4 << 20);
  for (let at = 0; at < 900; at++) end();
  let looked = 0;
  const matches = () => {
    if (++looked === 500) end();
    return true;
  };
  const back = watch(ALL, { since: 'inst-1-0', filter: 'all', matches });
  end();
  const outlet = await back;
  await clock.advance(300);
  const seqs = outlet.calls.map(({ seq }) => seq);
  t.strictSame(
    seqs,
    Array.from({ length: 902 }, (_, at) => at + 1),
  );
});

t.test(
  'one who does not read gets no more, is told of the gap when it does, and is let go after half a minute',
  async (t) => {
    const { clock, feed, end, watch } = setUp();
    const reads = await watch();
    const stalls = await watch();
    stalls.isStalled = true;
    const fill = async (frames: number) => {
      for (let at = 0; at < frames; at++) {
        for (let call = 0; call < 20; call++) end('x'.repeat(600));
        await clock.advance(100);
      }
    };
    await fill(30);
    const held = stalls.writableLength;
    t.ok(held > 256 * 1024 && held < 300 * 1024, `${held} octets wait`);
    await fill(5);
    t.equal(stalls.writableLength, held, 'no more is written');
    t.equal(reads.calls.length, 700, 'others are told all');
    stalls.isStalled = false;
    stalls.writableLength = 0;
    const before = stalls.calls.length;
    await fill(1);
    const [gap, ...more] = stalls.named('gap');
    t.strictSame([gap?.missed, more], [700 - before, []]);
    t.equal(stalls.calls.at(-1)?.seq, 720, 'then it goes on');
    stalls.isStalled = true;
    await fill(40);
    await clock.advance(31_000);
    t.ok(stalls.isDestroyed);
    t.equal(feed.watchers.length, 1);
    t.notOk(reads.isDestroyed);
  },
);

t.test('of a flood all failures are told, and of the rest each n-th', async (t) => {
  const { clock, end, watch } = setUp();
  const outlet = await watch();
  for (let at = 0; at < 1_200; at++) end(null, at % 100 === 0 ? 500 : 200);
  await clock.advance(100);
  const [frame] = outlet.named('calls');
  t.equal(frame?.sampled, 4);
  t.equal(frame?.calls.filter(({ status }) => status === 500).length, 12);
  t.equal(frame?.calls.filter(({ status }) => status === 200).length, 297);
  await clock.advance(2_000);
  for (let at = 0; at < 200; at++) end();
  await clock.advance(100);
  t.equal(outlet.named('calls').at(-1)?.sampled, undefined, 'a burst is told whole');
  for (let at = 0; at < 2_500; at++) end();
  await clock.advance(100);
  t.match(outlet.named('gap'), [{ missed: 500 }], 'what was too much even for that is said');
});

t.test('what fell out of the ring before its frame is missing, and that is said', async (t) => {
  const { clock, end, watch } = setUp(4_096);
  const all = await watch();
  const some = await watch(ALL, { filter: 'all', matches: () => true });
  const crm = await watch(own('crm'));
  const count = 100;
  for (let at = 0; at < count; at++) end('x'.repeat(600));
  end('crm');
  await clock.advance(100);
  for (const outlet of [all, some]) {
    const told = outlet.paths.length;
    t.equal(outlet.paths.at(-1), `/${count + 1}`);
    t.match(outlet.named('gap'), [{ missed: count + 1 - told }]);
  }
  t.strictSame([crm.paths, crm.named('gap')], [[`/${count + 1}`], []]);
});

t.test('however calls begin and end, those that run are listed, once, the oldest first', async () => {
  const step = fc.tuple(fc.constantFrom('begin', 'begin', 'begin', 'end', 'end', 'clear'), fc.nat(30), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const calls = Array.from({ length: 31 }, (_, at) => {
        const record = Object.assign(createExchangeRecord(at), { requestId: String(at) });
        return { record, waitsFor: '', rejectWait: null };
      });
      const running = new RunningCalls((text) => text);
      const model = new Set<number>();
      for (const [what, at, isTwice] of steps) {
        const call = calls[at] as (typeof calls)[number];
        for (let times = isTwice ? 2 : 1; times > 0; times--)
          if (what === 'begin') running.add(call);
          else if (what === 'end') running.delete(call.record);
          else running.clear();
        if (what === 'begin') model.add(at);
        else if (what === 'end') model.delete(at);
        else model.clear();
      }
      const { calls: listed, count } = running.list(ALL, calls.slice(5, 7));
      const expected = [...model.add(5).add(6)].sort((a, b) => a - b).map(String);
      return count === expected.length && listed.map(({ requestId }) => requestId).join() === expected.join();
    }),
  );
});

t.test('however calls come, no failure is left out, and no more than the promise is told', async () => {
  const ended = fc
    .tuple(fc.boolean(), fc.boolean())
    .map(([hasFailed, isTraced]): EndedCall => ({ seq: 1, client: null, hasFailed, isTraced }));
  fc.assert(
    fc.property(
      fc.array(fc.array(ended, { maxLength: 900, size: 'max' }), { minLength: 1, maxLength: 30 }),
      (frames) => {
        const sampler = new Sampler();
        let fine = 0;
        for (const calls of frames) {
          const { chosen, sampled } = sampler.choose(calls);
          const failed = (some: readonly EndedCall[]) => some.filter(({ hasFailed }) => hasFailed).length;
          if (failed(chosen) !== failed(calls)) return false;
          if (sampled === 1 && chosen.length !== calls.length) return false;
          const isFine = ({ hasFailed, isTraced }: EndedCall) => !hasFailed && !isTraced;
          if (sampled > 1 && calls.some((one) => !one.hasFailed && one.isTraced) && chosen.some(isFine)) return false;
          fine += chosen.length - failed(chosen);
        }
        return fine <= 300 + 30 * frames.length + frames.length;
      },
    ),
  );
});

t.test('there is room for ten, and for three of one client', async (t) => {
  const { feed, watch } = setUp();
  for (let at = 0; at < 3; at++) {
    t.equal(feed.whyFull(own('crm')), null);
    await watch(own('crm'));
  }
  t.match(feed.whyFull(own('crm')), /^3 watch as crm already/);
  t.equal(feed.whyFull(own('etl')), null);
  const others = [];
  for (let at = 0; at < 7; at++) {
    t.equal(feed.whyFull(ALL), null);
    others.push(await watch());
  }
  t.match(feed.whyFull(ALL), /^10 are watching already/);
  others[0]?.leave();
  t.equal(feed.whyFull(ALL), null);
  t.match(feed.watchers[0], { client: 'crm', sees: 'own', since: Number });
});

t.test('clients that watch their own calls leave room for two who see all', async (t) => {
  const { feed, watch } = setUp();
  for (const client of ['crm', 'crm', 'crm', 'etl', 'etl', 'etl', 'ivr', 'ivr']) {
    t.equal(feed.whyFull(own(client)), null);
    await watch(own(client));
  }
  for (const client of ['ivr', 'wfm']) t.match(feed.whyFull(own(client)), /^8 are watching calls of their own already/);
  for (let at = 0; at < 2; at++) {
    t.equal(feed.whyFull(ALL), null, 'an admin gets in');
    await watch();
  }
  t.match(feed.whyFull(ALL), /^10 are watching already/);
});

t.test('whoever may not look any more is let go, and so is who may see something else', async (t) => {
  const { clock, feed, traced, watch } = setUp();
  let now: Rights | null = ALL;
  const one = await watch(ALL, {}, () => now);
  const other = await watch(ALL, {}, () => (now === null ? own('crm') : ALL));
  await clock.advance(2_000);
  t.notOk(one.isEnded);
  t.equal(traced.now, 1, 'calls are traced while somebody watches');
  now = null;
  feed.review();
  t.match([one.named('bye'), other.named('bye')], [[{ reason: /may not/ }], [{ reason: /changed/ }]]);
  t.ok(one.isEnded && other.isEnded);
  t.notOk(feed.isWatched);
  t.strictSame([clock.pending, traced.now], [0, 0], 'nothing is left to do');
});

t.test('limits are told where they changed, and all of them to whoever comes', async (t) => {
  const { clock, states, watch } = setUp();
  for (const name of ['a', 'b']) states.set(name, { name, used: 1 });
  const first = await watch();
  const crm = await watch(own('crm'));
  await clock.advance(1_000);
  states.set('b', { name: 'b', used: 2 });
  await clock.advance(1_000);
  t.strictSame(first.named('limit'), [
    { name: 'a', used: 1 },
    { name: 'b', used: 1 },
    { name: 'b', used: 2 },
  ]);
  const second = await watch();
  await clock.advance(1_000);
  t.equal(second.named('limit').length, 2);
  t.strictSame(crm.named('limit'), []);
});

t.test('at the end all are told, and nobody may begin; a cleared list is to be read again', async (t) => {
  const { clock, feed, end, watch } = setUp();
  const outlet = await watch();
  end();
  feed.reset();
  await clock.advance(100);
  t.match(outlet.named('hello'), [{ reset: false }, { reset: true }]);
  t.strictSame(outlet.calls, [], 'what was cleared is not told afterwards');
  feed.close('the gateway ends');
  t.match(outlet.named('bye'), [{ reason: 'the gateway ends' }]);
  t.ok(outlet.isEnded && feed.isClosed);
  t.equal(clock.pending, 0);
});

t.test('one who does not read the end is not waited for', async (t) => {
  const { clock, feed, watch } = setUp();
  const outlet = await watch();
  outlet.isStalled = true;
  feed.close('the gateway ends');
  t.ok(outlet.isEnded);
  t.notOk(outlet.isDestroyed);
  await clock.advance(1_000);
  t.ok(outlet.isDestroyed);
});
