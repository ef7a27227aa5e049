#!/usr/bin/env node
// The process: checks the Node it runs on, hands the command line to its command, and is the only file that exits.

import { HeldSignals } from './cli/held-signals.ts';
import { start } from './cli/start.ts';

const [major = 0, minor = 0, patch = 0] = process.versions.node.split('.').map(Number);
const isSupported =
  major >= 26 || (major === 24 && minor >= 15) || (major === 22 && (minor > 22 || (minor === 22 && patch >= 2)));

if (isSupported) {
  process.exit(await start(process.argv.slice(2), new HeldSignals()));
} else {
  process.stderr.write(
    `gcg needs Node 22.22.2, 24.15 or 26 and later; this is ${process.version}, at ${process.execPath}: install a ` +
      'newer Node, or, in a checkout, start it with "npm start" on the Node that npm ci brought\n',
  );
  process.exit(1);
}
