// The callers: keep-alive connections that ask again when they have their answer, calls at a fixed rate whatever the
// answers do, connections that stay open and idle, and transfers. Written on sockets, to cost little.

import { connect as connectPlain, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { quantile } from './measure.ts';

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

function getMessage({ port }: Target, path: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nAccept: application/json\r\nContent-Type: ` +
      `application/json\r\nUser-Agent: bench\r\n\r\n`,
  );
}

/** One connection, one exchange at a time. Its answers have a Content-Length and, where they must not fail, 200. */
class Connection {
  readonly #socket: Socket;
  readonly #opened: Promise<void>;
  #head = '';
  /** Octets of the content that have not come yet; null until the head is whole. */
  #missing: number | null = null;
  #settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null = null;

  constructor(target: Target) {
    this.#socket = open(target);
    this.#opened = new Promise((resolve) =>
      this.#socket.once(target.ca ? 'secureConnect' : 'connect', () => resolve()),
    );
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#socket.on('error', (error) => this.#settle?.reject(error));
    this.#socket.on('close', () => this.#settle?.reject(new Error('the connection was closed before the answer')));
  }

  /** Resolves when the connection is open: an answer's time is without it. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  /** Sends, and resolves when the answer is whole. Rejects on any status but 2xx. */
  send(message: Buffer, body?: (socket: Socket) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#head = '';
      this.#missing = null;
      this.#socket.write(message);
      body?.(this.#socket);
    });
  }

  #take(chunk: Buffer): void {
    if (this.#missing === null) {
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.#head.startsWith('HTTP/1.1 2')) this.#settle?.reject(new Error(this.#head.slice(0, 300)));
      const length = Number(/content-length: *(\d+)/i.exec(this.#head)?.[1] ?? 0);
      this.#missing = length - (this.#head.length - end - 4);
    } else this.#missing -= chunk.length;
    if (this.#missing > 0) return;
    const settle = this.#settle;
    this.#settle = null;
    settle?.resolve();
  }

  close(): void {
    this.#settle = null;
    this.#socket.destroy();
  }
}

function resultOf(latencies: readonly number[], startedAt: number): LoadResult {
  const seconds = (performance.now() - startedAt) / 1000;
  return { requests: latencies.length, seconds, p50: quantile(latencies, 1 / 2), p99: quantile(latencies, 0.99) };
}

/**
 * Runs `requests` GETs of `path` over `connections` connections, each sending its next request when the last answer is
 * whole. Rejects on any status but 2xx.
 */
export async function runLoad(
  target: Target,
  path: string,
  requests: number,
  connections: number,
): Promise<LoadResult> {
  const message = getMessage(target, path);
  const latencies: number[] = [];
  let left = requests;
  const startedAt = performance.now();
  const worker = async () => {
    const connection = new Connection(target);
    await connection.opened;
    while (left > 0) {
      left -= 1;
      const sentAt = performance.now();
      await connection.send(message);
      latencies.push(performance.now() - sentAt);
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, worker));
  return resultOf(latencies, startedAt);
}

/**
 * Sends `rate` GETs a second for some seconds, whether the answers come or not: a call that finds no free connection
 * opens one. What a call waits for is measured from when it was due.
 */
export async function runOpenLoop(target: Target, path: string, rate: number, seconds: number): Promise<LoadResult> {
  const message = getMessage(target, path);
  const latencies: number[] = [];
  const free: Connection[] = [];
  const all: Connection[] = [];
  const running: Promise<void>[] = [];
  const connect = async () => {
    const connection = new Connection(target);
    all.push(connection);
    await connection.opened;
    return connection;
  };
  // What a caller at such a rate has open already.
  free.push(...(await Promise.all(Array.from({ length: 16 }, connect))));
  const call = async () => {
    const dueAt = performance.now();
    const connection = free.pop() ?? (await connect());
    await connection.send(message);
    latencies.push(performance.now() - dueAt);
    free.push(connection);
  };
  const startedAt = performance.now();
  for (let sent = 0; sent < rate * seconds; ) {
    const due = Math.floor(((performance.now() - startedAt) / 1000) * rate);
    for (; sent < due; sent += 1) running.push(call());
    await delay(1);
  }
  await Promise.all(running);
  for (const connection of all) connection.close();
  return resultOf(latencies, startedAt);
}

/** Opens connections that have made one call each and stay open. Resolves with what closes them. */
export async function openIdle(target: Target, path: string, connections: number): Promise<() => void> {
  const message = getMessage(target, path);
  const all = Array.from({ length: connections }, () => new Connection(target));
  let at = 0;
  const worker = async () => {
    for (let connection = all[at++]; connection !== undefined; connection = all[at++]) {
      await connection.opened;
      await connection.send(message);
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return () => {
    for (const connection of all) connection.close();
  };
}

/** One transfer of `bytes`; resolves with MiB/s. */
export async function runTransfer(target: Target, direction: 'down' | 'up', bytes: number): Promise<number> {
  const connection = new Connection(target);
  await connection.opened;
  const startedAt = performance.now();
  const host = `Host: localhost:${target.port}\r\nUser-Agent: bench\r\n`;
  if (direction === 'down') await connection.send(Buffer.from(`GET /api/v2/bytes/${bytes} HTTP/1.1\r\n${host}\r\n`));
  else {
    const head = `POST /api/v2/sink HTTP/1.1\r\n${host}Content-Type: application/octet-stream\r\nContent-Length: ${bytes}`;
    await connection.send(Buffer.from(`${head}\r\n\r\n`), (socket) => upload(socket, bytes));
  }
  const seconds = (performance.now() - startedAt) / 1000;
  connection.close();
  return bytes / 1024 / 1024 / seconds;
}

function upload(socket: Socket, bytes: number): void {
  const chunk = Buffer.alloc(256 * 1024);
  let left = bytes;
  const push = () => {
    while (left > 0) {
      const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
      left -= part.length;
      if (!socket.write(part)) {
        socket.once('drain', push);
        return;
      }
    }
  };
  push();
}
