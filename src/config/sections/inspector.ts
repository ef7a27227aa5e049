// [inspector]: whether calls can be looked at while the gateway runs, how many are kept, and what may be done with them.

import { boolean, choice, integer } from '../option.ts';
import { Section, type Values } from '../section.ts';

export const inspector = new Section('inspector', 'The live page and its data: who called, what failed, and why.', {
  enabled: boolean(null, {
    defaultNote: 'true where the admin listener is loopback or a Unix socket, else false',
    example: 'true',
    reload: 'restart',
    doc: 'Keep finished calls in memory, and serve them with the live page on the admin listener.',
    more: 'Who may look: whoever has the key of this start, clients with admin, and clients with inspect = own.',
  }),
  memory: integer('4', {
    min: 1,
    max: 1024,
    reload: 'restart',
    doc: 'Memory for finished calls in MiB, some 1,700 calls each; a quarter more is for failed ones alone.',
  }),
  capture: choice(['none', 'errors'], 'errors', {
    doc: "none, or errors: keep the platform's code and message of a failed call, redacted.",
    more: 'Headers and bodies are kept only while somebody captures them.',
  }),
  replay: choice(['off', 'safe', 'confirm'], 'safe', {
    doc: 'Which calls may be sent again: off (none), safe (GET and HEAD), confirm (others too, when spelled out).',
  }),
});

/** `[inspector]`. `enabled` is null where the listener decides. */
export type InspectorConfig = Values<typeof inspector>;
