// Step of a release: asks the registry whether it knows faults in what a user runs, be it installed for them or bundled
// into the program, of which their own audits see nothing. Needs a build. Ends with 1 where it does, and
// where npm itself fails; where the registry does not answer such questions it says so in one clear line, and ends with
// 0, so that a release without it is possible.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What npm prints: a report, or the failure of its question. */
interface AuditOutput {
  readonly metadata?: { readonly vulnerabilities: { readonly total: number } };
  readonly vulnerabilities?: Record<
    string,
    { readonly severity: string; readonly range: string; readonly via: readonly (string | { title: string })[] }
  >;
  /** Of a question that was not answered: the URL that was asked. */
  readonly uri?: string;
  readonly statusCode?: number;
  readonly message?: string;
}

const { dependencies } = read<{ dependencies: Record<string, string> }>('package.json');
const bundled = read<{ name: string }[]>('dist/bundled-packages.json');
/** What users run, by name. */
const shipped = new Set([...Object.keys(dependencies), ...bundled.map(({ name }) => name)]);

const { stdout, stderr } = spawnSync('npm', ['audit', '--json'], {
  encoding: 'utf8',
  shell: process.platform === 'win32',
});
const output = parse(stdout);
if (output?.metadata && output.vulnerabilities) {
  const faults = Object.entries(output.vulnerabilities).filter(([name]) => shipped.has(name));
  for (const [name, { severity, range, via }] of faults) {
    const titles = via.map((each) => (typeof each === 'string' ? `through ${each}` : each.title));
    console.log(`${severity}: ${name} ${range}: ${titles.join('; ')}`);
  }
  const total = faults.length;
  console.log(
    total === 0
      ? 'audited: no known vulnerability in what is bundled or installed'
      : `audited: ${total} vulnerable packages`,
  );
  process.exitCode = total === 0 ? 0 : 1;
} else if (output?.uri !== undefined || /failed, reason:|network timeout/.test(output?.message ?? '')) {
  const why = output?.statusCode === undefined ? 'it cannot be reached' : `it answers ${output.statusCode}`;
  console.log(
    `NOT AUDITED: the registry does not answer audits (${why}). Run it again where it does, before the release is ` +
      'published.',
  );
  // The run is green all the same: its page is to show it.
  if (process.env.GITHUB_ACTIONS === 'true') console.log(`::warning::the release was NOT AUDITED: ${why}`);
} else {
  console.error(`npm audit failed: ${output?.message ?? (stderr || stdout)}`);
  process.exitCode = 1;
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')) as T;
}

function parse(text: string): AuditOutput | undefined {
  try {
    return JSON.parse(text);
  } catch {
    // No JSON: npm failed before it asked.
    return undefined;
  }
}
