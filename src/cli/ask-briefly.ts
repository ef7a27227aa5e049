// One GET to a running gateway over node:net, with as much of HTTP/1.1 as a gateway answers a probe with: Node's own
// client takes 9 ms of CPU time to load, a third of what a whole Node does. Understands nothing else, and says so.

import { connect } from 'node:net';
import type { CallableAddress } from '../config/listen-address.ts';
import { callableHost, type GatewayResponse, Unanswered } from './ask-gateway.ts';

/** What is asked for by whoever wants to know whether a gateway is ready. */
export const READINESS = '/readyz';
/** Longest wait of one probe for its answer, ms, where nobody says another. */
export const PROBE_TIMEOUT_MS = 3_000;

/** A longer response is none to a probe. */
const LONGEST_BYTES = 64 * 1024;

/** Undefined where what answers, if anything, is to be asked by `askGateway`; null where nothing listens. */
type BriefAnswer = GatewayResponse | null | undefined;

/** Asks once, and ends the connection. Rejects when the response is not complete in time. */
export function askBriefly(address: CallableAddress, path: string, timeoutMs: number): Promise<BriefAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(placeOf(address));
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Unanswered(timeoutMs));
    }, timeoutMs);
    const settle = (answer: BriefAnswer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (text) => {
      received += String(text);
      if (received.length > LONGEST_BYTES) return settle(undefined);
      const answer = readAnswer(received);
      if (answer !== null) settle(answer);
    });
    socket.on('end', () => settle(undefined));
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      settle(code === 'ECONNREFUSED' || code === 'ENOENT' ? null : undefined),
    );
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  });
}

function placeOf(address: CallableAddress): { path: string } | { host: string; port: number } {
  return address.kind === 'unix' ? { path: address.path } : { host: callableHost(address.host), port: address.port };
}

/** Null as long as more has to come; undefined for what is no plain response of a gateway. */
function readAnswer(received: string): GatewayResponse | null | undefined {
  const headEnds = received.indexOf('\r\n\r\n');
  if (headEnds < 0)
    return BEGINNING.startsWith(received.slice(0, BEGINNING.length)) || received.startsWith(BEGINNING)
      ? null
      : undefined;
  const [, status, fields = ''] =
    /^HTTP\/1\.1 ([2-5]\d\d)[^\r\n]*\r\n([\s\S]*)$/.exec(received.slice(0, headEnds)) ?? [];
  const length = /^content-length: *(\d{1,5})$/im.exec(fields)?.[1];
  const isOurs = /^x-gateway-request-id:/im.test(fields) && !/^transfer-encoding:/im.test(fields);
  if (status === undefined || length === undefined || !isOurs) return undefined;
  const body = received.slice(headEnds + 4);
  if (body.length < Number(length)) return null;
  return { status: Number(status), text: Buffer.from(body.slice(0, Number(length)), 'latin1').toString('utf8') };
}

const BEGINNING = 'HTTP/1.1 ';
