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
/** Most that is taken at a time. */
const READ_BYTES = 8 * 1024;

/** Undefined where what answers, if anything, is to be asked by `askGateway`; null where nothing listens. */
type BriefAnswer = GatewayResponse | null | undefined;

/** Asks once, and to close the connection after the response. Rejects when that is not complete in time. */
export function askBriefly(address: CallableAddress, path: string, timeoutMs: number): Promise<BriefAnswer> {
  return new Promise((resolve, reject) => {
    let received = '';
    // What comes is not read as a stream: to set one up takes a twentieth of what a whole Node does.
    const buffer = Buffer.alloc(READ_BYTES);
    const read = (length: number) => {
      received += buffer.toString('latin1', 0, length);
      const answer = received.length > LONGEST_BYTES ? undefined : readAnswer(received);
      if (answer === undefined) socket.destroy();
      else if (answer !== null) resolve(answer);
      return true;
    };
    const socket = connect({ ...placeOf(address), onread: { buffer, callback: read } });
    // Not cleared by an answer: what is asked may leave the connection open.
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Unanswered(timeoutMs));
    }, timeoutMs);
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      resolve(code === 'ECONNREFUSED' || code === 'ENOENT' ? null : undefined),
    );
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
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
    /^HTTP\/1\.1 ([2-5]\d\d)(?: [^\r\n]*)?\r\n([\s\S]*)$/.exec(received.slice(0, headEnds)) ?? [];
  const length = /^content-length: *(\d{1,5})$/im.exec(fields)?.[1];
  const isOurs = /^x-gateway-request-id:/im.test(fields) && !/^transfer-encoding:/im.test(fields);
  if (status === undefined || length === undefined || !isOurs) return undefined;
  const body = received.slice(headEnds + 4);
  if (body.length < Number(length)) return null;
  return { status: Number(status), text: Buffer.from(body.slice(0, Number(length)), 'latin1').toString('utf8') };
}

const BEGINNING = 'HTTP/1.1 ';
