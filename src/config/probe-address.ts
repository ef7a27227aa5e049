// Where a probe asks, read off the sources of the configuration without the table of options: an orchestrator asks every
// few seconds, and the table takes as long to load as half a Node. Where the address is not as plain as that, there is
// none: the loader then says what it is, or what is wrong.

import { parseConfigText } from './file.ts';
import { type FileSearch, type Findings, findFile } from './find-file.ts';
import type { CallableAddress } from './listen-address.ts';
import { type ListenerKey, parseListeners, probedAddresses, USUAL_LISTEN, usualAdminListeners } from './listeners.ts';
import { isPrintable, type RawSource, type RawValue, rawText, splitCommas } from './values.ts';

/** The address that the loader would find, where a listener without TLS is there; else undefined. */
export function plainProbeAddress(input: FileSearch): CallableAddress | undefined {
  const findings: Findings = { problems: [], warnings: [] };
  const file = findFile(input, findings);
  const source = file === undefined ? null : parseConfigText(file.bytes, file.candidate.display);
  if (findings.problems.length > 0 || (source?.problems.length ?? 0) > 0) return undefined;
  const lists = new ListenerLists(input.env, source);
  const listen = lists.read('listen', USUAL_LISTEN);
  const ownAdmin = lists.read('admin_listen');
  const healthListen = lists.read('health_listen') ?? [];
  if (listen === undefined || lists.isUnclear) return undefined;
  const adminListen = ownAdmin ?? usualAdminListeners(listen);
  const { health, other } = probedAddresses({ listen, adminListen, healthListen });
  if (health !== undefined || other?.kind === 'unix') return health ?? other;
  return lists.mayHaveTls ? undefined : other;
}

/** The lists of listeners as they are written: the environment, else the file, else what an image sets. */
class ListenerLists {
  readonly #env: FileSearch['env'];
  readonly #source: RawSource | null;
  /** Whether one was written in a way that only the loader understands, or refuses. */
  isUnclear = false;

  constructor(env: FileSearch['env'], source: RawSource | null) {
    this.#env = env;
    this.#source = source;
  }

  read(key: ListenerKey, standard?: string) {
    const written = this.#written(key) ?? (standard === undefined ? undefined : rawText(standard));
    if (written === undefined) return undefined;
    const items = itemsOf(written);
    const { addresses, problems } = parseListeners(key, items);
    this.isUnclear ||= items.length === 0 || !items.every(isPrintable) || problems.length > 0;
    return addresses;
  }

  /** Whether anything at all is said of TLS. */
  get mayHaveTls(): boolean {
    return (
      Object.keys(this.#env).some((name) => name.startsWith('GCG_') && name.includes('SERVER_TLS_')) ||
      this.#source?.entries.some(({ section }) => section === 'server.tls') === true
    );
  }

  #written(key: ListenerKey): RawValue | undefined {
    const variable = `SERVER_${key.toUpperCase()}`;
    const [set, preset] = [this.#env[`GCG_${variable}`], this.#env[`GCG_DEFAULT_${variable}`]];
    if (set !== undefined) return rawText(set);
    const entry = this.#source?.entries.find((one) => one.section === 'server' && one.key === key);
    return entry?.value ?? (preset === undefined ? undefined : rawText(preset));
  }
}

/** The items of a list; none where it is no list of texts. */
function itemsOf(value: RawValue): readonly string[] {
  if (value.type === 'list') return value.items.map((item) => item.trim());
  return value.type === 'text' ? splitCommas(value.text) : [];
}
