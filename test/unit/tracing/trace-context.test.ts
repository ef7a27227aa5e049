import fc from 'fast-check';
import t from 'tap';
import { parseTraceparent, placeTraceparent } from '../../../src/tracing/trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

t.test('the sampled flag is the lowest bit, whatever the others are', async (t) => {
  for (const [flags, isSampled] of [
    ['00', false],
    ['01', true],
    ['02', false],
    ['03', true],
    ['fe', false],
    ['ff', true],
  ] as const)
    t.strictSame(
      parseTraceparent(`00-${TRACE}-${SPAN}-${flags}`),
      { traceId: TRACE, parentId: SPAN, isSampled },
      flags,
    );
});

t.test('what is no traceparent', async (t) => {
  for (const value of [
    undefined,
    '',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}-0g`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    [`00-${TRACE}-${SPAN}-01`],
  ])
    t.equal(parseTraceparent(value), null, String(value));
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => parseTraceparent(value) === null));
});

const name = fc.constantFrom('traceparent', 'TraceParent', 'tracestate', 'TRACESTATE', 'Accept', 'x-a');

t.test('there is one traceparent in the end, where it says, and all else is as it was', async () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string())), fc.boolean(), (pairs, isNew) => {
      const headers = [...pairs.flat(), 'Authorization', ''];
      const at = placeTraceparent(headers, isNew);
      headers[at] = 'ours';
      const after = pairsOf(headers);
      const is = (wanted: string) => (pair: readonly [string, string]) => pair[0].toLowerCase() === wanted;
      const ours = after.filter(is('traceparent'));
      const others = after.filter((pair) => !is('traceparent')(pair));
      const expected = [...pairs, ['Authorization', ''] as const].filter(
        (pair) =>
          !is('traceparent')(pair as [string, string]) && !(isNew && is('tracestate')(pair as [string, string])),
      );
      return (
        ours.length === 1 &&
        ours[0]?.[1] === 'ours' &&
        JSON.stringify(others) === JSON.stringify(expected) &&
        headers.at(-2) === 'Authorization'
      );
    }),
  );
});

function pairsOf(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, at) => [flat[2 * at] as string, flat[2 * at + 1] as string]);
}
