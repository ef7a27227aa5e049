import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import * as ws from 'ws';
import { closeFrame, FrameFollower } from '../../../../src/upstream/websocket/frame-follower.ts';

/** What npm ws exports and its types do not know. */
const { Receiver, Sender } = ws as unknown as {
  Sender: { frame(data: Buffer, options: object): Buffer[] };
  Receiver: new (options: object) => NodeJS.WritableStream;
};

/** A frame as npm ws writes it. */
function frameOf(opcode: number, size: number, isMasked: boolean, fin = true): Buffer {
  const data = randomBytes(size);
  return Buffer.concat(Sender.frame(data, { fin, opcode, mask: isMasked, readOnly: true, rsv1: false }));
}

const frames = fc.array(
  fc.record({
    opcode: fc.constantFrom(0, 1, 2, 9, 10),
    size: fc.oneof(fc.nat(200), fc.constantFrom(0, 125, 126, 127, 65_535, 65_536, 70_000)),
    isMasked: fc.boolean(),
    fin: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);

t.test('it knows where frames end, however the octets are cut into chunks', (t) => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1 }), (described, cuts) => {
      const whole = described.map(({ opcode, size, isMasked, fin }) => frameOf(opcode, size, isMasked, fin));
      const ends = new Set<number>([0]);
      let at = 0;
      for (const frame of whole) {
        at += frame.length;
        ends.add(at);
      }
      const all = Buffer.concat(whole);
      const follower = new FrameFollower();
      at = 0;
      for (let n = 0; at < all.length; n++) {
        if (follower.isAtBoundary !== ends.has(at)) return false;
        at += follower.follow(all.subarray(at, at + (cuts[n % cuts.length] as number)));
      }
      return follower.isAtBoundary && follower.closeCode === null;
    }),
  );
  t.end();
});

t.test('asked to, it stops at the end of the frame under way, and nowhere else', (t) => {
  fc.assert(
    fc.property(frames, fc.nat(), (described, seed) => {
      const whole = described.map(({ opcode, size, isMasked, fin }) => frameOf(opcode, size, isMasked, fin));
      const all = Buffer.concat(whole);
      const from = seed % (all.length + 1);
      const follower = new FrameFollower();
      follower.follow(all.subarray(0, from));
      const isBetween = follower.isAtBoundary;
      const taken = follower.follow(all.subarray(from), true);
      let end = 0;
      for (const frame of whole) if (end < from) end += frame.length;
      return follower.isAtBoundary && from + taken === (isBetween ? from : end);
    }),
  );
  t.end();
});

t.test('it reads the code of the first close frame, masked or not, cut anywhere', (t) => {
  for (const mask of [null, randomBytes(4)]) {
    for (const code of [1000, 1001, 3999, 4999]) {
      const octets = Buffer.concat([frameOf(2, 300, mask !== null), closeFrame(code, mask), closeFrame(1002, mask)]);
      for (let cut = 0; cut <= octets.length; cut++) {
        const follower = new FrameFollower();
        follower.follow(octets.subarray(0, cut));
        follower.follow(octets.subarray(cut));
        if (follower.closeCode !== code || !follower.isAtBoundary) t.fail(`${code} cut at ${cut}`);
      }
    }
  }
  const bare = new FrameFollower();
  bare.follow(Buffer.from([0x88, 0x00]));
  t.equal(bare.closeCode, 1005, 'without a code');
  const worded = new FrameFollower();
  worded.follow(Buffer.from([0x88, 0x06, 0x0f, 0xa0, 0x77, 0x6f, 0x72, 0x64]));
  t.ok(worded.closeCode === 4000 && worded.isAtBoundary, 'with words');
  t.end();
});

t.test('octets that are no frames do no harm', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (octets) => {
      const follower = new FrameFollower();
      return follower.follow(octets) === octets.length;
    }),
  );
  t.end();
});

t.test('its close frames are what npm ws takes for such', async (t) => {
  for (const mask of [null, randomBytes(4)]) {
    const receiver = new Receiver({ isServer: mask !== null });
    const concluded = new Promise((resolve) => receiver.once('conclude', resolve));
    receiver.write(closeFrame(1001, mask));
    t.equal(await concluded, 1001);
  }
});
