import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { createFrameReader, encodeFrame, type Frame, FrameError, OPCODE } from '../../../src/sandbox/websocket.ts';

/** A frame as a client sends it. */
function mask(frame: Buffer): Buffer {
  const headBytes = (frame[1] ?? 0) < 126 ? 2 : frame[1] === 126 ? 4 : 10;
  const key = randomBytes(4);
  const head = Buffer.from(frame.subarray(0, headBytes));
  head[1] = (head[1] ?? 0) | 0x80;
  const payload = Buffer.from(frame.subarray(headBytes).map((octet, index) => octet ^ (key[index & 3] ?? 0)));
  return Buffer.concat([head, key, payload]);
}

t.test('frames of every length form survive any cut of the octets', async (t) => {
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 125, 126, 65_535, 65_536), fc.integer({ min: 1, max: 70_000 }), (size, step) => {
      const payload = randomBytes(size);
      const octets = Buffer.concat([
        mask(encodeFrame(OPCODE.binary, payload)),
        mask(encodeFrame(OPCODE.text, Buffer.from('end'))),
      ]);
      const read = createFrameReader(100_000);
      const frames: Frame[] = [];
      for (let at = 0; at < octets.length; at += step) frames.push(...read(octets.subarray(at, at + step)));
      t.equal(frames.length, 2);
      t.ok(frames[0]?.payload.equals(payload));
      t.equal(frames[1]?.payload.toString(), 'end');
    }),
    { numRuns: 40 },
  );
});

const refused = (name: string, octets: Buffer, code: number) =>
  t.test(`${name} is refused with ${code}`, async (t) => {
    t.throws(() => [...createFrameReader(1000)(octets)], { name: 'FrameError', closeCode: code });
  });

refused('an unmasked frame', encodeFrame(OPCODE.text, Buffer.from('x')), 1002);
refused('a reserved bit', Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002);
refused('an unknown opcode', Buffer.from([0x83, 0x80, 0, 0, 0, 0]), 1002);
refused('a fragmented ping', Buffer.from([0x09, 0x80, 0, 0, 0, 0]), 1002);
refused(
  'a payload over the bound, on its announcement alone',
  mask(encodeFrame(OPCODE.text, Buffer.alloc(1001))).subarray(0, 4),
  1009,
);

t.test('a frame error tells its close code', async (t) => {
  t.equal(new FrameError(1009, 'message too big').closeCode, 1009);
});
