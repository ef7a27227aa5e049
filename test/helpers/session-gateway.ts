// A gateway in a process of its own, so that its CPU and memory can be told from those of the test. Started by fork
// with an IPC channel: takes { upstream, max }, then { open } and { measure } messages, and answers each.

import { randomBytes } from 'node:crypto';
import { createToken } from '../../src/auth/credentials/token-source.ts';
import { createGateway, type Gateway } from '../../src/gateway.ts';
import { Secret } from '../../src/secret.ts';
import { configAt } from './gateway.ts';

/**
 * What the process is told. `tokens` are real ones, for sessions that will be used; `count` more get tokens that nobody
 * knows.
 */
export type ToSessionGateway =
  | { kind: 'start'; upstream: string; max: number }
  | { kind: 'open'; tokens: readonly string[]; count: number }
  | { kind: 'measure'; collect: boolean }
  | { kind: 'stop' };

/**
 * What it answers. CPU in µs since the last measurement, memory in bytes, after a collection where one was asked for.
 */
export interface FromSessionGateway {
  url?: string;
  handles?: readonly string[];
  size?: number;
  cpuMicros?: number;
  heapBytes?: number;
  rssBytes?: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const silent = { error() {}, warn() {}, info() {}, debug() {}, exchange() {} };
let gateway: Gateway | undefined;
let lastCpu = process.cpuUsage();

async function answer(message: ToSessionGateway): Promise<FromSessionGateway> {
  switch (message.kind) {
    case 'start': {
      const config = configAt(message.upstream);
      gateway = await createGateway(config, {
        log: silent,
        env: {},
        sessionLimits: { max: message.max, idleMs: DAY_MS },
      });
      const [url = ''] = await gateway.listen();
      await gateway.runtime().credentials.default()?.source.token();
      return { url };
    }
    case 'open': {
      const { sessions, config } = (gateway as Gateway).runtime();
      const home = config.general.hosts.login.origin;
      const handles: string[] = [];
      for (let i = 0; i < message.tokens.length + message.count; i++) {
        const accessToken = new Secret(message.tokens[i] ?? randomBytes(64).toString('base64url'));
        const token = createToken({ accessToken, obtainedAt: Date.now(), expiresAt: Date.now() + DAY_MS });
        const refreshToken = new Secret(randomBytes(64).toString('base64url'));
        const opened = await sessions.open(
          { client: null, authFingerprint: null, credential: 'default', clientId: 'app', secret: null },
          { token, refreshToken },
          home,
        );
        handles.push(opened.handle);
      }
      return { handles, size: sessions.size };
    }
    case 'measure': {
      const { user, system } = process.cpuUsage(lastCpu);
      if (message.collect) global.gc?.();
      const { heapUsed, rss } = process.memoryUsage();
      lastCpu = process.cpuUsage();
      return {
        cpuMicros: user + system,
        heapBytes: heapUsed,
        rssBytes: rss,
        size: gateway?.runtime().sessions.size ?? 0,
      };
    }
    case 'stop':
      await gateway?.drain();
      process.disconnect();
      return {};
  }
}

process.on('message', (message: ToSessionGateway) => {
  void answer(message).then((reply) => {
    if (process.connected) process.send?.(reply);
  });
});
