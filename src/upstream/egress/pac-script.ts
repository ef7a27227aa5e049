// The text of a PAC file, from disk or from a web server, fetched again only when it changed. Runs nothing (pac-evaluator.ts does).

import { type buildConnector, Client } from 'undici';
import { LARGEST_SCRIPT_BYTES } from '../../config/sections/proxy.ts';
import { readPlainFile, whyNotRead } from '../../fs/plain-file.ts';
import { errorCode } from './dial-error.ts';

export interface PacText {
  readonly text: string;
  /** What to ask with whether it changed: the file's revision, or ETag and Last-Modified. */
  readonly validators: { readonly file?: string; readonly etag?: string | undefined; readonly lastModified?: string | undefined };
}

/**
 * The present text; null when it is still that of `known`. `connect` must lead out directly: a PAC file is not fetched through the
 * proxies it names. Rejects with an Error whose message is fit for ours.
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
