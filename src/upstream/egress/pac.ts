// Proxy auto-configuration: loads the script, asks it in its thread, reads its answer, and keeps to the proxies that
// worked.

import { LRUCache } from 'lru-cache';
import { type buildConnector, Client } from 'undici';
import type { Clock } from '../../clock.ts';
import { LARGEST_SCRIPT_BYTES } from '../../config/sections/proxy.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import { readPlainFile, whyNotRead } from '../../fs/plain-file.ts';
import type { Log } from '../../logging/log.ts';
import { errorCode } from '../errors.ts';
import { createPacEvaluator, type PacEvaluator } from './pac-evaluator.ts';
import {
  authority,
  DIRECT,
  type PacCredentials,
  type ProxyProtocol,
  parseProxySetting,
  type Route,
  type Target,
} from './proxy-route.ts';

export interface Pac {
  /** For people; without credentials or query. */
  readonly name: string;
  /**
   * The script's list, never empty. Rejects with GatewayError `gateway.proxy.refused` that names the file. The caller
   * has the deadline.
   */
  routesTo(target: Target): Promise<readonly Route[]>;
  close(): void;
}

export interface PacOptions {
  readonly url: URL;
  /** Leads out directly. */
  readonly connect: buildConnector.connector;
  readonly credentials: PacCredentials;
  readonly limitMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const RECHECK_MS = 60_000;
const REMEMBER_ANSWER_MS = 30_000;
/** How long a script that failed is not asked again. */
const REMEMBER_FAILURE_MS = 10_000;
/**
 * How long a script that cannot be compiled is not tried again: one that loops takes a processor's time until it is
 * stopped.
 */
const REMEMBER_BROKEN_MS = 300_000;

interface Loaded {
  readonly source: PacText;
  readonly evaluator: PacEvaluator;
  readonly answers: LRUCache<string, { until: number; readonly routes: Promise<readonly Route[]> }>;
}

/** Reads nothing before the first question. */
export function createPac({ url, connect, credentials, limitMs, clock, log }: PacOptions): Pac {
  const name = `${url.protocol}//${url.host}${url.pathname}`;
  const closing = new AbortController();
  let loaded: Loaded | undefined;
  let loading: Promise<Loaded> | undefined;
  let broken: { text: string; problem: string; until: number } | undefined;
  let checkedAt = Number.NEGATIVE_INFINITY;
  const refuse = (why: string) =>
    new GatewayError('gateway.proxy.refused', `the PAC file ${name} cannot be used: ${why}; check proxy.url`);

  const load = async (): Promise<Loaded> => {
    const controller = new AbortController();
    const timer = clock.after(limitMs, () => controller.abort());
    try {
      const signal = AbortSignal.any([controller.signal, closing.signal]);
      const source = await fetchPacText(url, { known: loaded?.source, connect, signal });
      if (source === null && loaded) return loaded;
      if (source === null) throw new Error('its server answered 304 to a first question');
      if (source.text === loaded?.source.text) return { ...loaded, source };
      if (broken && source.text === broken.text && clock.monotonic() < broken.until) throw new Error(broken.problem);
      const evaluator = await createPacEvaluator(source.text, { clock, signal: closing.signal }).catch(
        (error: Error) => {
          if (!closing.signal.aborted)
            broken = { text: source.text, problem: error.message, until: clock.monotonic() + REMEMBER_BROKEN_MS };
          throw error;
        },
      );
      return { source, evaluator, answers: new LRUCache({ max: 1000 }) };
    } catch (error) {
      throw isGatewayError(error) ? refuse(error.message) : refuse((error as Error).message);
    } finally {
      timer.cancel();
    }
  };

  /** The first load is waited for; later ones happen behind the old script's back, which stays when they fail. */
  const current = (): Promise<Loaded> | Loaded => {
    if (!loading && clock.monotonic() - checkedAt >= (loaded ? RECHECK_MS : 0)) {
      loading = load().then(
        (fresh) => {
          if (loaded && loaded.evaluator !== fresh.evaluator) loaded.evaluator.retire();
          loaded = fresh;
          return fresh;
        },
        (error: GatewayError) => {
          if (!loaded) throw error;
          log.warn({ pac: name, problem: error.message }, 'pac file cannot be refreshed, the previous one stays');
          return loaded;
        },
      );
      const done = () => {
        loading = undefined;
        checkedAt = clock.monotonic();
      };
      loading.then(done, done);
    }
    return loaded ?? (loading as Promise<Loaded>);
  };

  return {
    name,
    async routesTo(target) {
      const { evaluator, answers } = await current();
      const key = `${target.secure ? 'https' : 'http'}://${authority(target.host, target.port)}/`;
      let answer = answers.get(key);
      if (!answer || answer.until <= clock.monotonic()) {
        answer = { until: clock.monotonic() + REMEMBER_ANSWER_MS, routes: ask(evaluator, key, target.host) };
        answers.set(key, answer);
        const remembered = answer;
        answer.routes.catch(() => {
          remembered.until = clock.monotonic() + REMEMBER_FAILURE_MS;
        });
      }
      return answer.routes;
    },
    close() {
      closing.abort();
    },
  };

  async function ask(evaluator: PacEvaluator, url: string, host: string): Promise<readonly Route[]> {
    try {
      return parsePacAnswer(await evaluator.evaluate(url, host), credentials);
    } catch (error) {
      throw refuse(`asked for ${host}, ${(error as Error).message}`);
    }
  }
}

export interface PacText {
  readonly text: string;
  /** What to ask with whether it changed: the file's revision, or ETag and Last-Modified. */
  readonly validators: {
    readonly file?: string;
    readonly etag?: string | undefined;
    readonly lastModified?: string | undefined;
  };
}

/**
 * The present text; null when it is still that of `known`. `connect` must lead out directly: a PAC file is not fetched
 * through the proxies it names. Rejects with an Error whose message is fit for ours.
 */
export async function fetchPacText(
  url: URL,
  { known, connect, signal }: { known: PacText | undefined; connect: buildConnector.connector; signal: AbortSignal },
): Promise<PacText | null> {
  return url.protocol === 'file:' ? readPacFile(url, known) : requestPacText(url, { known, connect, signal });
}

async function readPacFile(url: URL, known: PacText | undefined): Promise<PacText | null> {
  try {
    const { bytes, revision: file } = await readPlainFile(url, LARGEST_SCRIPT_BYTES);
    return known?.validators.file === file ? null : { text: bytes.toString('utf8'), validators: { file } };
  } catch (error) {
    throw new Error(`it ${whyNotRead(error)}`);
  }
}

async function requestPacText(
  url: URL,
  { known, connect, signal }: { known: PacText | undefined; connect: buildConnector.connector; signal: AbortSignal },
): Promise<PacText | null> {
  const client = new Client(url.origin, { connect, allowH2: false, maxResponseSize: LARGEST_SCRIPT_BYTES });
  try {
    const { etag, lastModified } = known?.validators ?? {};
    const headers = {
      accept: 'application/x-ns-proxy-autoconfig, */*',
      ...(etag && { 'if-none-match': etag }),
      ...(lastModified && { 'if-modified-since': lastModified }),
    };
    const answer = await client.request({ path: `${url.pathname}${url.search}`, method: 'GET', headers, signal });
    if (answer.statusCode === 304 && known) return null;
    if (answer.statusCode !== 200) throw new Error(`its server answered ${answer.statusCode}`);
    const text = await answer.body.text();
    const header = (name: string) => [answer.headers[name]].flat()[0];
    return { text, validators: { etag: header('etag'), lastModified: header('last-modified') } };
  } catch (error) {
    const code = errorCode(error as Error);
    throw code === 'unknown' || code.startsWith('gateway.') ? error : new Error(`it cannot be fetched (${code})`);
  } finally {
    await client.destroy();
  }
}

/** `SOCKS` and `SOCKS5` let the proxy resolve names, as browsers do. */
const KEYWORDS: Record<string, ProxyProtocol> = {
  PROXY: 'http',
  HTTP: 'http',
  HTTPS: 'https',
  SOCKS: 'socks5h',
  SOCKS5: 'socks5h',
  SOCKS4: 'socks4a',
};

/** Beyond so many entries a list is not read: each would get too small a share of the dial's time. */
const MOST_ENTRIES = 32;

/**
 * Never empty: an empty answer means direct, as in browsers. Unknown entries are passed over; throws when nothing else
 * is left.
 */
export function parsePacAnswer(answer: string, credentials: PacCredentials): readonly Route[] {
  const entries = answer
    .split(';')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .slice(0, MOST_ENTRIES);
  if (entries.length === 0) return [DIRECT];
  const routes = entries.flatMap((entry) => parseEntry(entry, credentials) ?? []);
  if (routes.length === 0) throw new Error('it names no route that is known here');
  return routes;
}

function parseEntry(entry: string, credentials: PacCredentials): Route | null {
  const [keyword = '', address, ...rest] = entry.split(/\s+/);
  if (/^direct$/i.test(keyword) && address === undefined) return DIRECT;
  const protocol = Object.hasOwn(KEYWORDS, keyword.toUpperCase()) ? KEYWORDS[keyword.toUpperCase()] : undefined;
  if (!protocol || address === undefined || rest.length > 0 || /[/?#]/.test(address)) return null;
  try {
    const parsed = parseProxySetting(`${protocol}://${address}`, 'the PAC file');
    if (parsed.kind !== 'fixed') return null;
    const { route } = parsed;
    if (!credentials.isFor(route.host, route.port)) return { ...route, isStranger: true };
    return { ...route, credentials: () => credentials.read() ?? route.credentials() };
  } catch {
    // Not an address: passed over like an unknown keyword.
    return null;
  }
}
