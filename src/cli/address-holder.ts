// Who listens at an address that was to be opened: another gateway, which says so, or some other program. Asks it for
// /livez, sends nothing else and believes nothing but words for a message.

import type { CallableAddress } from '../config/listen-address.ts';
import { onOneLine } from '../config/problem.ts';
import { askGateway, type GatewayResponse, OtherProgram } from './ask-gateway.ts';

/** How long it may take to say who it is, ms. */
const LONGEST_ANSWER_MS = 1_000;
/** As much of a version is shown. */
const LONGEST_VERSION = 40;

/** The holder of an address in words that follow "in use by". Never rejects. */
export async function holderOf(address: CallableAddress): Promise<string> {
  try {
    const response = await askLiveness(address);
    return response === null ? 'another program' : describeGateway(response);
  } catch (error) {
    return error instanceof OtherProgram ? `another program: ${error.message}` : 'another program';
  }
}

async function askLiveness(address: CallableAddress): Promise<GatewayResponse | null> {
  const request = { address, method: 'GET', path: '/livez', timeoutMs: LONGEST_ANSWER_MS } as const;
  const headers = { host: 'localhost' };
  const response = await askGateway({ ...request, headers, tls: null });
  // A gateway with TLS says so, in clear; nothing secret is sent, so its certificate need not be known.
  return response?.status === 400 ? askGateway({ ...request, headers, tls: { rejectUnauthorized: false } }) : response;
}

function describeGateway({ text }: GatewayResponse): string {
  const { version, pid } = parse(text);
  const number = typeof version === 'string' ? ` ${onOneLine(version).slice(0, LONGEST_VERSION)}` : '';
  const process = Number.isSafeInteger(pid) ? `, process ${pid}` : '';
  return `gcg${number}${process}, which is running there already`;
}

function parse(text: string): { readonly version?: unknown; readonly pid?: unknown } {
  try {
    return (JSON.parse(text) as { version?: unknown; pid?: unknown } | null) ?? {};
  } catch {
    // The header said that it is a gateway; its words are not needed.
    return {};
  }
}
