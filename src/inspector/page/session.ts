// Who looks: the key that proves it, where it comes from, and the requests it goes with. The key is in memory and in
// this tab's session storage, nowhere else.

/** A request that was refused, or not answered. `status` is 0 where nothing came back. */
export class RequestFailure extends Error {
  override readonly name = 'RequestFailure';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const STORED = 'gcg-inspector-key';
const CHANNEL = 'gcg-inspector-key';
/** How long other tabs have for lending their key. */
const LEND_MS = 250;

/** The gateway's address of a path below `/-/`, wherever the page is mounted. */
export function address(path: string): URL {
  return new URL(`../${path}`, document.baseURI);
}

/** The proof of this tab. */
export class Session {
  #key: string | null = null;
  readonly #channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(CHANNEL);
  /** Told when the proof was refused: it has ended, or there was none. */
  onRefused: (message: string) => void = () => {};

  constructor() {
    if (this.#channel === null) return;
    this.#channel.onmessage = ({ data }: MessageEvent<{ wants?: true }>) => {
      if (data.wants === true && this.#key !== null) this.#channel?.postMessage({ key: this.#key });
    };
  }

  get key(): string | null {
    return this.#key;
  }

  /**
   * Finds a proof: the one-time code of the address, which is taken out of it at once; what this tab had before a
   * reload; what another tab has. Without any the gateway may still answer: on a Unix socket it asks for none. Returns
   * what was wrong with the code.
   */
  async begin(): Promise<string | null> {
    const code = /^#o=([\w-]+)$/.exec(location.hash)?.[1];
    let problem: string | null = null;
    if (code !== undefined) {
      history.replaceState(null, '', location.pathname);
      try {
        await this.#trade(JSON.stringify({ code }));
        return null;
      } catch (error) {
        problem = (error as Error).message;
      }
    }
    this.#key = sessionStorage.getItem(STORED) ?? (await this.#borrow());
    if (this.#key !== null) sessionStorage.setItem(STORED, this.#key);
    return problem;
  }

  /** Trades the secret of a client for a key. The secret is not kept. Throws a RequestFailure. */
  async enter(secret: string): Promise<void> {
    await this.#trade(null, secret);
  }

  /** Forgets the key, and has the gateway forget it. */
  async leave(): Promise<void> {
    const key = this.#key;
    this.#key = null;
    sessionStorage.removeItem(STORED);
    if (key !== null)
      await fetch(address('ui/session'), { method: 'DELETE', headers: headersWith(key) }).catch(() => {});
  }

  /** A request with the proof. Throws a RequestFailure for whatever is not a success. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const key = this.#key;
    const headers = { ...headersWith(key), ...(init.headers as Record<string, string> | undefined) };
    const response = await answered(address(path), { ...init, headers, cache: 'no-store' });
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (response.status === 401 && key === this.#key) this.onRefused(failure.message);
    throw failure;
  }

  /** A document. Throws a RequestFailure. */
  async json<T>(path: string, init?: RequestInit): Promise<T> {
    return (await (await this.request(path, init)).json()) as T;
  }

  async #trade(body: string | null, proof: string | null = null): Promise<void> {
    const response = await answered(address('ui/session'), { method: 'POST', headers: headersWith(proof), body });
    if (!response.ok) throw await failureOf(response);
    const { key } = (await response.json()) as { key: string };
    this.#key = key;
    sessionStorage.setItem(STORED, key);
  }

  /** The key of another tab; null where there is none that answers. */
  #borrow(): Promise<string | null> {
    const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(CHANNEL);
    if (channel === null) return Promise.resolve(null);
    return new Promise<string | null>((resolve) => {
      channel.onmessage = ({ data }: MessageEvent<{ key?: unknown }>) => {
        if (typeof data.key === 'string') resolve(data.key);
      };
      setTimeout(resolve, LEND_MS, null);
      channel.postMessage({ wants: true });
    }).finally(() => channel.close());
  }
}

function headersWith(key: string | null): Record<string, string> {
  return { 'X-Gateway-Request': '1', ...(key !== null && { 'X-Gateway-Key': key }) };
}

async function answered(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' });
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error;
    throw new RequestFailure(0, 'the gateway does not answer');
  }
}

/** The gateway's own words for a refusal, where it has any. */
async function failureOf(response: Response): Promise<RequestFailure> {
  const document = (await response.json().catch(() => null)) as { message?: unknown } | null;
  const message = typeof document?.message === 'string' ? document.message : `the gateway answered ${response.status}`;
  return new RequestFailure(response.status, message);
}
