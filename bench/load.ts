// The load: a fixed number of keep-alive connections, each sending its next request when the last answer is whole.
// Written on sockets, to cost little.

import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where to send. `ca` makes it TLS. */
export interface Target {
  readonly port: number;
  readonly ca?: Buffer;
}

/** What a run saw; latencies in ms. */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
}

function open({ port, ca }: Target): Socket {
  const socket = ca
    ? connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca })
    : connectPlain(port, '127.0.0.1');
  socket.setNoDelay(true);
  return socket;
}

/** Runs `requests` GETs of `path` over `connections` connections. Rejects on any status but 200. */
export async function runLoad(
  target: Target,
  path: string,
  requests: number,
  connections: number,
): Promise<LoadResult> {
  const message = Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost:${target.port}\r\nAccept: application/json\r\nContent-Type: ` +
      `application/json\r\nUser-Agent: bench\r\n\r\n`,
  );
  const latencies: number[] = [];
  let left = requests;
  const startedAt = performance.now();
  const worker = () =>
    new Promise<void>((resolve, reject) => {
      const socket = open(target);
      let sentAt = 0;
      let missing = -1;
      let head = '';
      const next = () => {
        if (left <= 0) {
          socket.destroy();
          resolve();
          return;
        }
        left -= 1;
        missing = -1;
        head = '';
        sentAt = performance.now();
        socket.write(message);
      };
      socket.on('data', (chunk: Buffer) => {
        if (missing < 0) {
          head += chunk.toString('latin1');
          const end = head.indexOf('\r\n\r\n');
          if (end < 0) return;
          if (!head.startsWith('HTTP/1.1 200')) reject(new Error(head.slice(0, 300)));
          missing = Number(/content-length: *(\d+)/i.exec(head)?.[1]) - (head.length - end - 4);
        } else missing -= chunk.length;
        if (missing > 0) return;
        latencies.push(performance.now() - sentAt);
        next();
      });
      socket.on('error', reject);
      socket.on(target.ca ? 'secureConnect' : 'connect', next);
    });
  await Promise.all(Array.from({ length: connections }, worker));
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return { requests: latencies.length, seconds, p50: at(0.5), p99: at(0.99) };
}

/** One transfer of `bytes`; resolves with MiB/s. */
export async function runTransfer(target: Target, direction: 'down' | 'up', bytes: number): Promise<number> {
  const startedAt = performance.now();
  const socket = open(target);
  const host = `Host: localhost:${target.port}\r\n`;
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    // Not every contestant ends the connection when asked to: count instead.
    let missing = direction === 'down' ? bytes : 1;
    socket.on('data', (chunk: Buffer) => {
      missing -= chunk.length;
      if (missing <= 0) resolve();
    });
    if (direction === 'down') {
      socket.write(`GET /api/v2/bytes/${bytes} HTTP/1.1\r\n${host}\r\n`);
      return;
    }
    socket.write(
      `POST /api/v2/sink HTTP/1.1\r\n${host}Content-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n`,
    );
    const chunk = Buffer.alloc(256 * 1024);
    let left = bytes;
    const push = () => {
      while (left > 0) {
        left -= chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', push);
          return;
        }
      }
    };
    push();
  });
  socket.destroy();
  return bytes / 1024 / 1024 / ((performance.now() - startedAt) / 1000);
}
