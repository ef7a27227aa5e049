// Calls as one HTTP Archive that can be given away: masked once more, marks of secrets made the file's own, and looked
// through for secrets before anybody gets it.

import { type LiveSecrets, maskStrings } from '../logging/redact/live-secrets.ts';
import { replaceMasks, withFingerprints } from '../logging/redact/mask.ts';
import type { FingerprintScope, Fingerprints } from './fingerprints.ts';
import { type HarBodies, type HarCall, harEntry } from './har.ts';
import { findLeak, placeOfLeak } from './leak.ts';

/** What an archive is made of. */
export interface ArchiveOptions {
  readonly bodies: HarBodies;
  readonly scope: FingerprintScope;
  readonly version: string;
  /** The filter that chose the calls; null where they were named one by one. */
  readonly filter: string | null;
  /** Said of the calls in general: settings that touch them. Absent: nothing. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** There are more calls than the archive took. */
  readonly isCut: boolean;
}

/** What is known of secrets. */
export interface ArchiveSecrets {
  readonly live: Pick<LiveSecrets, 'mask' | 'find'>;
  readonly fingerprints: Fingerprints;
}

/** A secret was found in what was to leave: nothing leaves. `what` and `place` say which kind it was and where. */
export class ArchiveLeak extends Error {
  override readonly name = 'ArchiveLeak';
  readonly what: string;
  readonly place: string;

  constructor(what: string, place: string) {
    super(`${what} in ${place}`);
    this.what = what;
    this.place = place;
  }
}

const SLICE_MS = 5;

/**
 * The text of the archive, in pieces. Gives way to others every few ms; `isWanted` ends it early, with null. Rejects
 * with ArchiveLeak.
 */
export async function createArchive(
  calls: Iterable<HarCall>,
  options: ArchiveOptions,
  { live, fingerprints }: ArchiveSecrets,
  isWanted: () => boolean = () => true,
): Promise<string[] | null> {
  const markOf = fingerprints.forFile(options.scope);
  const marks = new Set<string>();
  let replaced = 0;
  /** JSON of a structure, fit to leave. */
  const finished = (value: object, place: string): string => {
    const masked = withFingerprints(fingerprints.kept, () => maskStrings(value, live.mask)) as object;
    const text = replaceMasks(JSON.stringify(masked), (kept) => {
      replaced += 1;
      if (kept === null) return '[redacted]';
      const mark = markOf(kept);
      marks.add(mark);
      return `[redacted~${mark}]`;
    });
    const leak = findLeak(text, live);
    if (leak !== null) throw new ArchiveLeak(leak.what, placeOfLeak(place, masked, live));
    return text;
  };
  const entries: string[] = [];
  let sliceEndsAt = performance.now() + SLICE_MS;
  for (const call of calls) {
    entries.push(finished(harEntry(call, options.bodies), `log.entries[${entries.length}]`));
    if (performance.now() < sliceEndsAt) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (!isWanted()) return null;
    sliceEndsAt = performance.now() + SLICE_MS;
  }
  const redaction = { scope: options.scope, replaced, distinct: marks.size, scanner: 'passed', bodies: options.bodies };
  const { version, filter, settings, isCut } = options;
  const head = {
    version: '1.2',
    creator: { name: 'genesys-cloud-gateway', version },
    comment: manifest(entries.length, redaction, isCut),
    _gcg: { version, calls: entries.length, isCut, filter, redaction, ...(settings !== undefined && { settings }) },
  };
  const headText = finished(head, 'log');
  // The marks of the head are none that were counted: it has no secrets.
  return [`{"log":${headText.slice(0, -1)},"entries":[\n`, ...entries.flatMap(separated), '\n]}}\n'];
}

function separated(entry: string, at: number): string[] {
  return at === 0 ? [entry] : [',\n', entry];
}

interface Redaction {
  readonly scope: FingerprintScope;
  readonly replaced: number;
  readonly distinct: number;
  readonly bodies: HarBodies;
}

const BODIES: Readonly<Record<HarBodies, string>> = {
  none: 'No body is in it.',
  shape: 'Of bodies that were captured it has the shape: names of fields and kinds of values, without the values.',
  full: 'BODIES ARE IN IT AS THEY WERE CAPTURED, secrets masked: personal data of customers may be among them.',
};

const SCOPES: Readonly<Record<FingerprintScope, string>> = {
  file: 'equal marks stand for equal secrets in this file, and mean nothing in another one',
  run: 'equal marks stand for equal secrets in all such files of this gateway until it ends',
};

/** What a person should know before the file is passed on. */
function manifest(calls: number, { scope, replaced, distinct, bodies }: Redaction, isCut: boolean): string {
  return [
    `${calls} ${calls === 1 ? 'call' : 'calls'} through genesys-cloud-gateway${isCut ? '; there were more' : ''}.`,
    ...(replaced === 0
      ? ['No secret had to be replaced.']
      : [
          `Places where a secret is replaced by [redacted]: ${replaced}; different secrets among them: ${distinct}.`,
          `Of their marks, ${SCOPES[scope]}; no secret can be found by its mark.`,
        ]),
    'The file was searched for every secret in use, in all encodings, and for the shapes of tokens: none is in it.',
    BODIES[bodies],
    'Paths of calls are in it with the ids in them, and names of hosts, clients and credentials.',
    'Who a person is and from which address a caller came is left out.',
  ].join(' ');
}
