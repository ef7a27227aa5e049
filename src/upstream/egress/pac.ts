// Asks a PAC file for the routes to a target: keeps one compiled script, re-reads it when it changed, remembers answers for a short time.

import { LRUCache } from 'lru-cache';
import type { buildConnector } from 'undici';
import type { Clock } from '../../clock.ts';
import { GatewayError, isGatewayError } from '../../errors.ts';
import type { Log } from '../../logging/log.ts';
import { type PacCredentials, parsePacAnswer } from './pac-answer.ts';
import { createPacEvaluator, type PacEvaluator } from './pac-evaluator.ts';
import { fetchPacText, type PacText } from './pac-script.ts';
import type { Route } from './route.ts';
import { authority, type Target } from './target.ts';

export interface Pac {
  /** For people; without credentials or query. */
  readonly name: string;
  /** The script's list, never empty. Rejects with GatewayError `gateway.proxy.refused` that names the file. The caller has the deadline. */
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
/** How long a script that cannot be compiled is not tried again: one that loops takes a processor's time until it is stopped. */
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
  const refuse = (why: string) => new GatewayError('gateway.proxy.refused', `the PAC file ${name} cannot be used: ${why}; check proxy.url`);

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
      const evaluator = await createPacEvaluator(source.text, { clock, signal: closing.signal }).catch((error: Error) => {
        if (!closing.signal.aborted) broken = { text: source.text, problem: error.message, until: clock.monotonic() + REMEMBER_BROKEN_MS };
        throw error;
      });
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
