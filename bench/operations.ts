// What the table of operations costs: time and memory of loading it, and time of a match, over the paths of all
// operations. Run it with `npm run bench:operations`, which gives it the garbage collector. It asserts nothing.

import type { Operation } from '../src/operations/operation.ts';
import { operationTable } from '../src/operations/table.ts';

const ROUNDS = 40;
const ID = '8d6c0b2e-1f6f-4b5e-9d70-5a0e7f6a3c21';

function collectedHeap(): number {
  global.gc?.();
  global.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function perCall(name: string, calls: number, run: () => void): void {
  run();
  const times = Array.from({ length: ROUNDS }, () => {
    const from = process.hrtime.bigint();
    run();
    return Number(process.hrtime.bigint() - from) / calls;
  }).sort((a, b) => a - b);
  console.log(`${name}: ${(times[ROUNDS / 2] as number).toFixed(0)} ns (best ${(times[0] as number).toFixed(0)})`);
}

const before = collectedHeap();
const from = performance.now();
const table = operationTable();
const loadMs = performance.now() - from;
const heap = collectedHeap() - before;
console.log(
  `${table.operations.length} operations: loaded in ${loadMs.toFixed(1)} ms, ${(heap / 2 ** 20).toFixed(2)} MiB`,
);

const calls = table.operations.map(({ method, path }) => {
  const filled = path.replaceAll(/\{[^}]*\}/g, ID);
  return { method, path: filled, segments: filled.split('/').slice(1) };
});
const found = new Set<Operation | null>();
perCall('find', calls.length, () => {
  for (const { method, path } of calls) found.add(table.find(method, path));
});
perCall('all', calls.length, () => {
  for (const { method, segments } of calls) for (const each of table.all(method, segments)) found.add(each);
});
const hostile = [
  `/${'a/'.repeat(4000)}`,
  `/${'/'.repeat(8000)}`,
  `/api/v2/users/${'%61'.repeat(2600)}`,
  `/api/v2/users/${'a'.repeat(8000)}/queues`,
  `/api/v2/flows/datatables/${'rows/'.repeat(200)}`,
];
perCall('find, hostile', hostile.length, () => {
  for (const path of hostile) found.add(table.find('GET', path));
});
