// The spans of token requests. A login serves many calls, and belongs to none of them: each is a trace of its own, and
// the waits of the calls that it served are linked to it.

import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_URL_FULL,
} from '@opentelemetry/semantic-conventions';
import type { CallSpan, TracedWait } from '../logging/call-trace.ts';
import { type CallSpansDeps, serverAttributes } from './call-spans.ts';
import type { TokenRequest } from './call-tracer.ts';
import { CLIENT, makeSpan, type ReadableSpan, type SpanLink } from './span.ts';

/** What the spans of token requests are made with. */
export interface LoginSpansDeps extends Omit<CallSpansDeps, 'loginsOf'> {
  readonly newTraceId: () => string;
  readonly newSpanId: () => string;
  /** Takes a span that is to be exported. */
  readonly export: (span: ReadableSpan) => void;
}

/** So many of the last ones are known, to be linked to. */
const MOST_KNOWN = 64;
/** A wait is linked to so many at most. */
const MOST_LINKS = 8;

interface Login extends TokenRequest, SpanLink {
  isExported: boolean;
}

/** The token requests of late. */
export class LoginSpans {
  readonly #deps: LoginSpansDeps;
  readonly #known: Login[] = [];

  constructor(deps: LoginSpansDeps) {
    this.#deps = deps;
  }

  /** Notes one that has ended. It is exported where it is sampled, else when a call is linked to it. */
  note(request: TokenRequest, isSampled: boolean): void {
    const { newTraceId, newSpanId } = this.#deps;
    const login: Login = { ...request, traceId: newTraceId(), spanId: newSpanId(), isExported: false };
    this.#known.push(login);
    if (this.#known.length > MOST_KNOWN) this.#known.shift();
    if (isSampled) this.#export(login);
  }

  /** Those that a call's wait for a token was a wait for, the last first: that of its token, and those that failed. */
  linksOf(wait: TracedWait, call: CallSpan, credential: string | null): SpanLink[] {
    const links: SpanLink[] = [];
    for (const login of this.#known.toReversed()) {
      const isItsToken = wait.what !== null && login.tokenFingerprint === wait.what;
      const isFailure = login.tokenFingerprint === null && !login.isOfSession && call.hasOwnToken;
      const isMeanwhile = login.startedAt <= wait.at + wait.ms && login.endedAt >= wait.at;
      if (!isItsToken && !(isFailure && isMeanwhile && login.credential === credential)) continue;
      this.#export(login);
      links.push({ traceId: login.traceId, spanId: login.spanId });
      if (links.length === MOST_LINKS) break;
    }
    return links;
  }

  #export(login: Login): void {
    if (login.isExported) return;
    login.isExported = true;
    const { epochOf, mask } = this.#deps;
    const { origin, pathname } = new URL(login.url);
    this.#deps.export(
      makeSpan(
        {
          name: `POST ${pathname}`,
          kind: CLIENT,
          traceId: login.traceId,
          spanId: login.spanId,
          parentId: null,
          startedAt: epochOf(login.startedAt),
          endedAt: epochOf(login.endedAt),
          attributes: {
            [ATTR_HTTP_REQUEST_METHOD]: 'POST',
            ...serverAttributes(origin),
            [ATTR_URL_FULL]: login.url,
            [ATTR_HTTP_RESPONSE_STATUS_CODE]: login.statusCode,
            [ATTR_ERROR_TYPE]: login.errorCode,
            'gcg.credential': mask(login.credential),
            'gcg.grant': login.grant,
            'gcg.result': login.result,
          },
          hasFailed: login.errorCode !== null,
        },
        this.#deps,
      ),
    );
  }
}
