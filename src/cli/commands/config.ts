// `gcg config`: prints the effective configuration and where each value came from. Secrets arrive here masked.

import { jsonSchema } from '../../config/json-schema.ts';
import { loadConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problem.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io, loadInput, reportProblems } from '../io.ts';

/** Exit code 0, or 78 when there is no valid configuration to show. `--schema` needs none. */
export async function showConfig(args: CommandLine, io: Io): Promise<number> {
  if (args.flags.has('schema')) {
    io.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    return EXIT.ok;
  }
  const result = loadConfig({ ...loadInput(io, args.overrides), requireCredential: false });
  if (!result.ok) {
    reportProblems(io, result.problems, result.warnings);
    return EXIT.badConfig;
  }
  const { config, settings, warnings } = result;
  if (args.flags.has('json')) {
    io.stdout.write(
      `${JSON.stringify({ files: config.files, warnings: warnings.map(formatProblem), settings }, null, 2)}\n`,
    );
    return EXIT.ok;
  }
  reportProblems(io, [], warnings);
  const rows = settings
    .filter(({ value }) => value !== null && value !== '')
    .map(({ key, value, origin }) => [`${key} = ${value}`, origin] as const);
  const width = Math.min(60, Math.max(...rows.map(([setting]) => setting.length)));
  for (const [setting, origin] of rows) io.stdout.write(`${setting.padEnd(width)}  # ${origin}\n`);
  return EXIT.ok;
}
