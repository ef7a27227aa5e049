// What one audited call and one counted call cost, in CPU time of this process: `node bench/audit.ts`.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeIo } from '../src/audit/audit-io.ts';
import { AuditTrail } from '../src/audit/audit-trail.ts';
import { systemClock } from '../src/clock.ts';
import { UsageLedger } from '../src/usage/usage-ledger.ts';

const folder = mkdtempSync(join(tmpdir(), 'gcg-bench-'));
const log = { error() {}, warn() {}, info() {}, debug() {} };
const deps = { clock: systemClock, log, io: nodeIo };
const call = {
  ...{ client: 'crm', credential: 'default', operation: 'patchRoutingQueue', method: 'PATCH', status: 200 },
  path: '/api/v2/routing/queues/6b1f0f6e-2f0e-4d3a-9b1c-0d7a5e9c1f22',
  ...{ requestId: '0f8fad5b-d9cb-469f-a165-70867728950e', correlationId: '7c9e6679-7425-40de-944b-e07fc1f90ae7' },
  peer: '10.1.2.3',
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Microseconds of CPU, kernel included, for each of `count`. */
async function measure(name: string, count: number, run: () => Promise<void>): Promise<void> {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  await run();
  const { user, system } = process.cpuUsage(before);
  const wall = ((performance.now() - startedAt) * 1000) / count;
  console.log(`${name}: ${((user + system) / count).toFixed(2)} µs of CPU, ${wall.toFixed(2)} µs of time`);
}

async function auditMany(name: string, sync: boolean, count: number, together: number): Promise<void> {
  const trail = await AuditTrail.open({ file: join(folder, name.replaceAll(' ', '-')), sync, ...deps });
  await measure(name, count, async () => {
    for (let at = 0; at < count; at += together) {
      const receipts = Array.from({ length: together }, () => trail.append(call));
      if (sync) await Promise.all(receipts);
      else await turn();
    }
  });
  await trail.close();
}

try {
  for (let round = 0; round < 3; round++) {
    await auditMany(`audited, alone ${round}`, false, 50_000, 1);
    await auditMany(`audited, ten in a turn ${round}`, false, 100_000, 10);
    await auditMany(`audited and synced, alone ${round}`, true, 200, 1);
    await auditMany(`audited and synced, a hundred at once ${round}`, true, 20_000, 100);
    const ledger = await UsageLedger.open({ folder, prefix: 'bench', ...deps });
    const operations = Array.from({ length: 200 }, (_, at) => `getOperation${at}`);
    await measure('counted, among 2,000 rows', 10_000_000, async () => {
      for (let at = 0; at < 10_000_000; at++) {
        ledger.count(`client${at % 10}`, 'default', operations[at % 200] as string, Date.now());
        if (at % 100_000 === 0) await turn();
      }
    });
    await ledger.close();
  }
} finally {
  rmSync(folder, { recursive: true });
}
