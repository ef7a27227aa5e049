// Reads a TAP file and prints the plain line of counts that the gate ends with. Skipped and failed tests are named.

import { readFileSync } from 'node:fs';

const lines = readFileSync(process.argv[2] ?? '/dev/stdin', 'utf8').split('\n');
for (const line of lines) {
  if (/^\s*ok .*# SKIP/i.test(line)) console.log(`skipped: ${line.trim()}`);
  if (/^\s*not ok /.test(line)) console.log(`failed: ${line.trim()}`);
}
// tap sums all files up in its last comment: `# { total: 9, pass: 8, fail: 1 }`.
const summary = lines.findLast((line) => /^# \{ .*total: /.test(line)) ?? '';
const count = (what: string) => Number(new RegExp(`\\b${what}: (\\d+)`).exec(summary)?.[1] ?? 0);
const skipped = count('skip');
console.log(
  `${count('pass')} passed, ${summary === '' ? 1 : count('fail')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
);
