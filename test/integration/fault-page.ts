// Renders docs/faults.md from the rows that the fault tests run. `node test/integration/fault-page.ts` writes it anew.

import { writeFileSync } from 'node:fs';
import {
  type Bound,
  FAULTS,
  type FaultRow,
  MATRIX_TIMES,
  type Outcome,
  TOKEN_FAULTS,
  type TokenFaultRow,
} from './fault-rows.ts';

const HEAD = `# Faults and what callers see of them

What a caller gets when something breaks: the network, the platform, the login host, a proxy.

Every row is a test (\`test/integration/fault-matrix.test.ts\`, \`fault-token-endpoint.test.ts\`,
\`fault-aftermath.test.ts\`), and this page is generated from the rows that the tests run
(\`node test/integration/fault-page.ts\`). The rules are tested one by one in \`test/unit/upstream/retry.test.ts\`,
\`retry-token-wait.test.ts\`, \`stale-connection.test.ts\`, \`rate-limit.test.ts\`, \`gate.test.ts\` and \`breaker.test.ts\`.

The rules behind the rows:

- GET, HEAD and OPTIONS are sent again after 502, 503, 504 and broken connections, at most \`retry_max\` times. The
  waits between are random, between \`retry_wait_min\` and \`retry_wait_max\`, and grow. A Retry-After of the response
  replaces our own wait. A call whose kept connection ended before it was answered is sent again at once.
- Any other method is sent again only when not one byte of it was sent (no connection could be opened) and its body is
  still available. Once bytes were sent, a POST reaches the upstream once; it goes by a new connection where a kept one
  may be about to end ([connections](connections.md)). Two refusals do not execute the call: a 401
  about the token costs one renewal and one replay, and a 429 that fits the time limit is waited for.
- A 401 about the token affects only its own call: until the renewal has brought another token, the other calls use the
  current one, unless it is refused on a second route. When the renewal fails, the refused call gets the renewal's
  error. The response to HEAD has no body and says nothing about the token: its 401 passes.
- No wait (for a token, for a place within the platform's limits, for a connection, for a probe, between two tries) ends
  later than \`timeouts.total_wait\` after the gateway has the call: its head, and a body of up to 64 KiB. A wait that
  would end later is not begun: the caller gets the upstream's own response, or our error, at once. Opening a connection
  and the upstream's response have deadlines of their own.
- A response whose head has been passed on is never tried again. When it breaks off, the caller's connection is cut, so
  that it cannot be mistaken for a complete one.
- After five consecutive failed dials, calls to that host get 503 \`gateway.upstream.unavailable\` with Retry-After,
  without a dial, except for one probe at a time, at intervals that grow from 1 to 30 seconds. Calls that come while a
  probe dials wait for its outcome, within \`total_wait\`. When it succeeds, all waiting calls follow, a few dials at a
  time, then more: no call is refused any more for the failures before it.
- A call that finds no free connection (of \`rate_limit.connections\`) waits for one: at the end of \`total_wait\` it
  gets 503 \`gateway.upstream.unavailable\`, and nothing of it was sent. Where \`rate_limit.queue_max\` calls wait
  already, for a limit or a connection, one more gets 429 \`gateway.rate.limited\` at once. If its client has fewer
  waiting calls than another, the last call of that other client gets it instead.
- Retry-After is the platform's own, what is left of it, or what our own count of its limit says. With a 503 of ours it
  is the time of the next probe; where connections or waiting places are short, a second.

"sent upstream" is how often the upstream saw the call, with \`retry_max = ${MATRIX_TIMES.retryMax}\`. "at once" is
within half a second on a loaded machine. Responses without a code in backticks are the upstream's own, passed on
unchanged.

`;

const WITHIN: Record<Bound, string> = {
  'at once': 'at once',
  retries: 'the waits between tries',
  'timeouts.connect': '`timeouts.connect`',
  'timeouts.connect, retries': '`timeouts.connect` a try, and the waits between',
  'timeouts.headers': '`timeouts.headers`',
  'timeouts.body': '`timeouts.body`',
  'Retry-After': 'Retry-After',
  'one renewal': 'one renewal',
};

/** The whole page. */
export function faultsPage(): string {
  const head = ['what goes wrong', 'GET', 'sent upstream', 'POST', 'sent upstream', 'within'];
  const groups = FAULTS.map(({ title, rows }) => `## ${title}\n\n${table(head, rows.map(cells))}`);
  const token = table(['the token endpoint', 'every call gets', 'within'], TOKEN_FAULTS.map(tokenCells));
  const intro = `This is while no token is available; a token that is still valid stays in use, and callers see no
error. The API gets no call. A call waits up to \`refresh_token_wait_max\`, over several attempts: it is answered as
below when the next attempt would not begin within its wait (in the tests: after the first). A refused secret ends the
wait at once.`;
  return `${HEAD}${groups.join('\n')}\n## The token endpoint\n\n${intro}\n\n${token}`;
}

function cells({ name, get, post, within, note }: FaultRow): string[] {
  return [
    note === undefined ? name : `${name} (${note})`,
    outcome(get),
    String(get.seen),
    outcome(post),
    String(post.seen),
    WITHIN[within],
  ];
}

function outcome({ status, code, torn }: Outcome): string {
  if (torn) return `${status}, then cut`;
  return code === undefined ? String(status) : `${status} \`${code}\``;
}

function tokenCells({ name, code, within }: TokenFaultRow): string[] {
  const status = code === 'gateway.credential.rejected' ? '424' : '503';
  return [
    name,
    `${status} \`${code}\`${status === '503' ? ', Retry-After' : ''}`,
    within === 'at once' ? within : `\`${within}\``,
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |\n`;
  return `${line(head)}${line(head.map(() => '---'))}${rows.map(line).join('')}`;
}

if (import.meta.main) writeFileSync(new URL('../../docs/faults.md', import.meta.url), faultsPage());
