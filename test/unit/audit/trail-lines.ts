// Audit trails made line by line, without a gateway, and their verification.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AuditChain } from '../../../src/audit/audit-chain.ts';
import { type VerifyOptions, verifyTrail } from '../../../src/audit/verify-trail.ts';

/** Lines of a whole chain, with their newlines: one that begins it, `calls` calls, one that closes it. */
export function makeLines(calls: number, name = 'test'): string[] {
  const chain = new AuditChain(() => '2026-11-28T10:00:00.000Z');
  const lines = [chain.next('chain', `"chain":"${name}"`)];
  for (let call = 0; call < calls; call++) {
    const fields = `"client":"crm","credential":"default","operation":null,"method":"POST","path":"/api/v2/users/${call}"`;
    lines.push(chain.next('call', `${fields},"status":200,"requestId":"r${call}","correlationId":null,"peer":"::1"`));
  }
  lines.push(chain.next('closed', ''));
  return lines;
}

/** Writes files into `dir` and verifies them together; paths come back as names. */
export async function verifyFiles(dir: string, files: Record<string, string | Buffer>, options?: VerifyOptions) {
  const paths = Object.entries(files).map(([name, content]) => {
    const path = join(dir, name);
    writeFileSync(path, content);
    return path;
  });
  const { chains, problems, notes } = await verifyTrail(paths, options);
  const short = ({ file, line, what }: { file: string; line: number; what: string }) =>
    `${file.slice(dir.length + 1)}:${line}: ${what}`;
  return { chains, problems: problems.map(short), notes: notes.map(short) };
}
