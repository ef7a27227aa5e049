// A script that the server runs as one step. Sent by its hash; a server that does not know it yet is sent the text.

import { createHash } from 'node:crypto';

/** What a script is run with. */
export interface ScriptCall {
  readonly script: Script;
  /** Whole keys, and channels: a script makes none itself, for the server checks the rights to those it is told of. */
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** What a script is tried with by `gcg check --online`. */
export interface ScriptTrial {
  /** Ends of keys: what is tried is `{prefix}:check:END`. They are deleted afterwards. */
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** Arguments of a second run, which takes the way that the first did not. */
  readonly again?: readonly string[];
}

/** Text of a script: the server's time as `now`, ms; goes before anything is written. */
export const NOW = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** One script: its text, and its name in metrics and messages. */
export class Script {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
  readonly trial: ScriptTrial;

  constructor(name: string, text: string, trial: ScriptTrial) {
    this.name = name;
    this.text = text;
    this.sha = createHash('sha1').update(text).digest('hex');
    this.trial = trial;
  }
}
