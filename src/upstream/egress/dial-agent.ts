// A node:http agent over our dialler, for clients such as npm `ws` that take an agent and nothing else. Keeps no connections.

import { Agent, type ClientRequestArgs } from 'node:http';
import type { Socket } from 'node:net';
import { stripBrackets } from '../../config/listen-address.ts';
import type { Target } from './target.ts';

type Created = (error: Error | null, socket?: Socket) => void;

/** The agent fits `http.request` and, with `secure`, `https.request`. */
export function createDialAgent(dial: (target: Target) => Promise<Socket>, secure: boolean): Agent {
  const agent = new Agent({ keepAlive: false });
  return Object.assign(agent, {
    protocol: secure ? 'https:' : 'http:',
    defaultPort: secure ? 443 : 80,
    createConnection({ host, port, servername }: ClientRequestArgs & { servername?: string }, created: Created) {
      const target = {
        host: stripBrackets(host ?? 'localhost'),
        port: Number(port) || (secure ? 443 : 80),
        secure,
        ...(servername && { servername }),
      };
      dial(target).then(
        (socket) => created(null, socket),
        (error) => created(error),
      );
    },
  });
}
