// Documents of the running gateway, shown as a table or as JSON.

import { onOneLine } from '../config/problem.ts';
import { createAdminRequest, exitCodeOf, loadToAsk, noGatewayAt, refusal } from './admin-client.ts';
import type { CommandLine } from './args.ts';
import { OtherProgram } from './ask-gateway.ts';
import { EXIT, type Io } from './io.ts';

/** A document and its form for people. */
interface DocumentView<T> {
  readonly path: string;
  /** What messages call it. */
  readonly what: string;
  /** Throws a TypeError for a document of another shape. */
  readonly table: (document: T) => string;
}

/** 0 when the gateway answered; 69 when none does, 78 where none would start, 77 when it wants an admin's secret. */
export async function showDocument<T>(args: CommandLine, io: Io, view: DocumentView<T>): Promise<number> {
  const body = await fetchDocument(args, io, view.path);
  if (typeof body === 'number') return body;
  const text = args.flags.has('json') ? jsonOf(body) : shownOrNull(body as T, view.table);
  if (text === null) {
    io.stderr.write(otherVersion(view.what));
    return EXIT.unavailable;
  }
  io.stdout.write(text);
  return EXIT.ok;
}

/** A document of the running gateway, or the exit code after a message that says why there is none. */
export async function fetchDocument<T>(args: CommandLine, io: Io, path: string): Promise<T | number> {
  const known = loadToAsk(args, io);
  const { config } = known;
  const response = await createAdminRequest(config, io, known)('GET', path).catch((error: Error) => error);
  if (response === null || response instanceof Error) {
    const isOther = response === null || response instanceof OtherProgram;
    const why = [isOther ? noGatewayAt(config) : '', response === null ? '' : onOneLine(response.message)];
    io.stderr.write(`gcg: ${why.filter((part) => part !== '').join(': ')}\n`);
    return known.isBroken ? EXIT.badConfig : EXIT.unavailable;
  }
  if (response.error !== null) {
    io.stderr.write(`gcg: ${refusal(response.error, known)}\n`);
    return exitCodeOf(response.error);
  }
  return response.body as T;
}

function jsonOf(body: unknown): string | null {
  return typeof body === 'object' && body !== null ? `${JSON.stringify(body, null, 2)}\n` : null;
}

/** What is said of a document, `what` it is called, that has another shape than it should. */
export function otherVersion(what: string): string {
  return `gcg: what answers there is no gateway of this version: its ${what} cannot be read\n`;
}

/** A document as `show` shows it; null when it has another shape. */
export function shownOrNull<T>(document: T, show: (document: T) => string): string | null {
  try {
    return show(document);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}
