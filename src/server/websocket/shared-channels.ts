// The notification channels of all instances: those that are known here, and those that another one has made, which are
// asked of the shared store. Where nothing is shared, the register alone.

import { SessionFetches, storeAway } from '../../auth/callers/session-fetches.ts';
import { recordId, type SharedRecords } from '../../auth/credentials/store/records.ts';
import type { Clock } from '../../clock.ts';
import {
  type AccountChannels,
  type ChannelOwner,
  type ChannelRegister,
  type IssuedChannel,
  ownerKeyOf,
} from './channels.ts';

/** What channels work with. */
export interface ChannelsDeps {
  readonly register: ChannelRegister;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  /** Null where each instance has its own. */
  readonly records: SharedRecords | null;
  /** Makes an owner unreadable. */
  readonly mark: (owner: string) => string;
}

/** So many are told at once when the store is back. */
const BATCH = 100;

/** The channels of one gateway. Nothing to close. */
export class Channels {
  readonly #deps: ChannelsDeps;
  /** Looks for unknown ones, each once at a time, so many at most. */
  readonly #fetches: SessionFetches;

  constructor(deps: ChannelsDeps) {
    this.#deps = deps;
    this.#fetches = new SessionFetches(deps.clock, async (id) => (await this.#fetch(id)) !== null);
  }

  /** Throws gateway.credential.unavailable where it is not known here and the store does not answer. */
  async find(id: string): Promise<IssuedChannel | null> {
    const { register, records } = this.#deps;
    const known = register.find(id);
    if (known !== null || records === null) return known;
    await this.#fetches.fetch(id);
    return register.find(id);
  }

  /**
   * Takes a channel in, or up to date, at all instances. Null when somebody else has it. A store that does not answer
   * is told later: until then its socket opens here.
   */
  async issue(
    id: string,
    made: Pick<IssuedChannel, 'owner' | 'credential' | 'url'>,
    expires: unknown,
  ): Promise<IssuedChannel | null> {
    const { register, records } = this.#deps;
    if (records === null) return register.issue(id, made, expires);
    for (let tries = 1; ; tries += 1) {
      const isKnown = register.find(id) !== null;
      const version = isKnown ? undefined : await this.#fetch(id).catch(() => undefined);
      const issued = register.issue(id, made, expires);
      if (issued === null) return null;
      const isKept = await this.#keep(id, issued, version).catch(() => true);
      if (isKept || tries > 1) return issued;
      // Another instance has issued it meanwhile.
      register.forget(id);
    }
  }

  accounts(): readonly AccountChannels[] {
    return this.#deps.register.accounts();
  }

  /** Tells a store that is back what it may have lost. Never throws. */
  async tellAgain(): Promise<void> {
    const all = [...this.#deps.register.all()];
    for (let start = 0; start < all.length; start += BATCH) {
      const told = all.slice(start, start + BATCH).map(([id, channel]) => this.#keep(id, channel, null));
      await Promise.allSettled(told);
    }
  }

  /** Makes a channel of another instance known here; its version, or null where there is none. Throws StoreError. */
  async #fetch(id: string): Promise<string | null> {
    const { register, records, clock } = this.#deps;
    const record = await records?.get('chan', recordId(id));
    if (record == null) return null;
    const channel = parseChannel(record.text);
    if (channel !== null && channel.expiresAt > clock.now()) register.adopt(id, channel);
    return record.version;
  }

  async #keep(id: string, channel: IssuedChannel, expected?: string | null): Promise<boolean> {
    const { records, clock, mark } = this.#deps;
    if (records === null) throw storeAway();
    const { owner, url, ...rest } = channel;
    const text = JSON.stringify({ ...rest, owner, url: url.href });
    const lifeMs = Math.max(1, Math.ceil(channel.expiresAt - clock.now()));
    const options = { lifeMs, expected, owner: mark(ownerKeyOf(owner)) };
    return (await records.put('chan', recordId(id), text, options)) !== null;
  }
}

/** The channel in a record; null where it is none. */
function parseChannel(text: string): IssuedChannel | null {
  let kept: Record<string, unknown>;
  try {
    kept = JSON.parse(text);
  } catch {
    // Of another version of this gateway, perhaps: the channel is listed again, or made anew.
    return null;
  }
  const { owner, credential, url, token, expiresAt } = kept;
  const isWhole =
    typeof owner === 'object' &&
    owner !== null &&
    typeof credential === 'string' &&
    typeof url === 'string' &&
    URL.canParse(url) &&
    (token === null || typeof token === 'string') &&
    typeof expiresAt === 'number';
  if (!isWhole) return null;
  const { client = null, authFingerprint = null, handle = null, session = null } = owner as Partial<ChannelOwner>;
  return { owner: { client, authFingerprint, handle, session }, credential, url: new URL(url), token, expiresAt };
}
