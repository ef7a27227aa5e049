// A process that audits and counts as fast as it can, until it is killed: `node audit-load.ts FOLDER sync|async`. It
// tells what was confirmed to it, a line at a time: `confirmed SEQ`, `counted TIME TOTAL`. SIGHUP: the file was rotated.

import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { nodeIo } from '../../src/audit/audit-io.ts';
import { AuditTrail } from '../../src/audit/audit-trail.ts';
import { systemClock } from '../../src/clock.ts';
import { UsageLedger } from '../../src/usage/usage-ledger.ts';

const [folder, mode] = process.argv.slice(2) as [string, string];
const log = { error: tell, warn() {}, info() {}, debug() {} };
const deps = { clock: systemClock, log, io: nodeIo };
const trail = await AuditTrail.open({ file: join(folder, 'audit.jsonl'), sync: mode === 'sync', ...deps });
const ledger = await UsageLedger.open({ folder, prefix: 'gcg', ...deps });
process.on('SIGHUP', () => trail.reopen());

function tell(fields: object, msg: string): void {
  writeSync(1, `error ${msg} ${JSON.stringify(fields)}\n`);
}

let calls = 0;
for (let round = 0; ; round++) {
  const receipts = [];
  for (let at = 0; at < 40; at++) {
    calls += 1;
    // Lines of many lengths, so that writes end anywhere in a page.
    const path = `/api/v2/users/${'x'.repeat((calls * 7919) % 3_000)}`;
    const call = { client: 'crm', credential: 'default', operation: null, method: 'POST', path, status: 200 };
    receipts.push(trail.append({ ...call, requestId: `r${calls}`, correlationId: null, peer: '::1' }));
    ledger.count('crm', 'default', `op${calls % 50}`, Date.now());
  }
  const { seq } = trail.head;
  if ((await Promise.all(receipts)).every((isOnDisk) => isOnDisk === true)) writeSync(1, `confirmed ${seq}\n`);
  else await new Promise((resolve) => setTimeout(resolve, 1));
  if (round % 10 === 0) writeSync(1, `counted ${Date.now()} ${ledger.total('crm', Date.now())}\n`);
}
