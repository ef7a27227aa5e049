// Runs a command in this process, with outputs that are kept, and writes the configuration it reads.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type CommandLine, parseCommandLine } from '../../src/cli/args.ts';
import type { Io } from '../../src/cli/io.ts';

/** What a command left behind. */
export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A folder with `gcg.ini`, in which commands run. */
export interface CommandFolder {
  readonly dir: string;
  run(
    command: (args: CommandLine, io: Io) => Promise<number>,
    argv: readonly string[],
    changes?: Partial<Io> & { onErr?: (text: string) => void },
  ): Promise<CommandResult>;
}

/** The section that leads a gateway to the simulation. */
export function gatewaySection(origin: string): string {
  const { hostname, port } = new URL(origin);
  return `[gateway]\nprotocol = http\nhost = ${hostname}\nport = ${port}\n[proxy]\noff = true\n`;
}

/** A token endpoint that does not answer is asked for a second, not for the ten of the default. */
export const ASKED_ONCE = '[reauthentication]\nrefresh_token_wait_max = 1\n';

/** Null: no file. */
export function createCommandFolder(t: Test, ini: string | null): CommandFolder {
  const dir = t.testdir();
  if (ini !== null) writeFileSync(join(dir, 'gcg.ini'), ini, { mode: 0o600 });
  return {
    dir,
    async run(command, argv, { onErr, ...changes } = {}) {
      const out: string[] = [];
      const err: string[] = [];
      const parsed = parseCommandLine(argv);
      if (parsed.kind !== 'run') throw new Error(parsed.kind === 'usage' ? parsed.message : parsed.kind);
      const io: Io = {
        stdout: { write: (text: string) => out.push(text) },
        stderr: {
          write(text: string) {
            err.push(text);
            onErr?.(text);
          },
        },
        env: {},
        cwd: dir,
        isTTY: false,
        home: dir,
        platform: 'linux' as const,
        ...changes,
      };
      const code = await command(parsed, io);
      return { code, out: out.join(''), err: err.join('') };
    },
  };
}
