// Proxy auto-configuration: loads the script, asks it in its thread, reads its answer. Which of the proxies it names is
// used is decided elsewhere.

import { LRUCache } from 'lru-cache';
import { type buildConnector, Client } from 'undici';
import type { Clock } from '../../clock.ts';
import { LARGEST_SCRIPT_BYTES } from '../../config/sections/proxy.ts';
import { GatewayError } from '../../errors.ts';
import { readPlainFile, whyNotRead } from '../../fs/plain-file.ts';
import type { Log } from '../../logging/log.ts';
import { errorCode } from '../errors.ts';
import { createPacEvaluator, type PacEvaluator } from './pac-evaluator.ts';
import {
  authority,
  DIRECT,
  type Endpoint,
  type PacCredentials,
  type ProxyProtocol,
  type ProxyRoute,
  parseProxySetting,
} from './proxy-route.ts';

/** What a PAC file is read with. */
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
  readonly answers: LRUCache<string, { until: number; readonly routes: Promise<readonly ProxyRoute[]> }>;
}

/** What could not be compiled, and until when it is not tried again (monotonic ms). */
interface BrokenScript {
  readonly text: string;
  readonly problem: string;
  readonly until: number;
}

/** One PAC file: its script, kept up to date, and its answers. Reads nothing before the first question. */
export class Pac {
  /** For people; without credentials or query. */
  readonly name: string;
  readonly #options: PacOptions;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();
  /** The script in use; it stays while a newer one cannot be had. */
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;
  #broken: BrokenScript | undefined;
  /** Monotonic. */
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(options: PacOptions) {
    const { protocol, host, pathname } = options.url;
    this.#options = options;
    this.name = `${protocol}//${host}${pathname}`;
  }

  /**
   * The script's list, never empty. Rejects with GatewayError `gateway.proxy.refused` that names the file. The caller
   * has the deadline.
   */
  async routesTo(endpoint: Endpoint): Promise<readonly ProxyRoute[]> {
    const { evaluator, answers } = await this.#current();
    const { clock } = this.#options;
    const key = `${endpoint.secure ? 'https' : 'http'}://${authority(endpoint.host, endpoint.port)}/`;
    const known = answers.get(key);
    if (known && known.until > clock.monotonic()) return known.routes;
    const answer = {
      until: clock.monotonic() + REMEMBER_ANSWER_MS,
      routes: this.#ask(evaluator, key, endpoint.host),
    };
    answers.set(key, answer);
    answer.routes.catch(() => {
      answer.until = clock.monotonic() + REMEMBER_FAILURE_MS;
    });
    return answer.routes;
  }

  close(): void {
    this.#closing.abort();
  }

  /** The first load is waited for; later ones happen meanwhile, and the script in use stays when they fail. */
  #current(): Promise<Loaded> | Loaded {
    const { clock } = this.#options;
    const isDue = clock.monotonic() - this.#checkedAt >= (this.#loaded ? RECHECK_MS : 0);
    if (!this.#loading && isDue) {
      this.#loading = this.#refresh();
      const done = () => {
        this.#loading = undefined;
        this.#checkedAt = clock.monotonic();
      };
      this.#loading.then(done, done);
    }
    return this.#loaded ?? (this.#loading as Promise<Loaded>);
  }

  async #refresh(): Promise<Loaded> {
    try {
      const fresh = await this.#load();
      if (this.#loaded && this.#loaded.evaluator !== fresh.evaluator) this.#loaded.evaluator.retire();
      this.#loaded = fresh;
      return fresh;
    } catch (error) {
      if (!this.#loaded) throw error;
      const fields = { pac: this.name, problem: (error as GatewayError).message };
      this.#options.log.warn(fields, 'pac file cannot be refreshed, the previous one stays');
      return this.#loaded;
    }
  }

  async #load(): Promise<Loaded> {
    const { url, connect, clock, limitMs } = this.#options;
    const controller = new AbortController();
    const timer = clock.after(limitMs, () => controller.abort());
    try {
      const signal = AbortSignal.any([controller.signal, this.#closing.signal]);
      const source = await fetchPacText(url, { known: this.#loaded?.source, connect, signal });
      if (source === null && this.#loaded) return this.#loaded;
      if (source === null) throw new Error('its server answered 304 to a first question');
      if (source.text === this.#loaded?.source.text) return { ...this.#loaded, source };
      return { source, evaluator: await this.#compile(source.text), answers: new LRUCache({ max: 1000 }) };
    } catch (error) {
      throw this.#refuse((error as Error).message);
    } finally {
      timer.cancel();
    }
  }

  async #compile(text: string): Promise<PacEvaluator> {
    const { clock } = this.#options;
    const broken = this.#broken;
    if (broken && text === broken.text && clock.monotonic() < broken.until) throw new Error(broken.problem);
    const { signal } = this.#closing;
    try {
      return await createPacEvaluator(text, { clock, signal });
    } catch (error) {
      if (!signal.aborted)
        this.#broken = { text, problem: (error as Error).message, until: clock.monotonic() + REMEMBER_BROKEN_MS };
      throw error;
    }
  }

  async #ask(evaluator: PacEvaluator, url: string, host: string): Promise<readonly ProxyRoute[]> {
    try {
      return parsePacAnswer(await evaluator.evaluate(url, host), this.#options.credentials);
    } catch (error) {
      throw this.#refuse(`asked for ${host}, ${(error as Error).message}`);
    }
  }

  #refuse(why: string): GatewayError {
    return new GatewayError(
      'gateway.proxy.refused',
      `the PAC file ${this.name} cannot be used: ${why}; check proxy.url`,
    );
  }
}

/** A PAC file's text as it was read. */
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
 * The script's current text; null when it is still that of `known`. `connect` must lead out directly: a PAC file is not
 * fetched through the proxies it names. Rejects with an Error whose message is fit for ours.
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
    const response = await client.request({ path: `${url.pathname}${url.search}`, method: 'GET', headers, signal });
    if (response.statusCode === 304 && known) return null;
    if (response.statusCode !== 200) throw new Error(`its server answered ${response.statusCode}`);
    const text = await response.body.text();
    const header = (name: string) => [response.headers[name]].flat()[0];
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

/** How many entries of a list are read: with more, each would get too small a share of the dial's time. */
const MOST_ENTRIES = 32;

/**
 * Never empty: an empty answer means direct, as in browsers. Unknown entries are passed over; throws when nothing else
 * is left.
 */
export function parsePacAnswer(answer: string, credentials: PacCredentials): readonly ProxyRoute[] {
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

function parseEntry(entry: string, credentials: PacCredentials): ProxyRoute | null {
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
