// What of a configuration ends by itself, and when: its certificates and its clients. Certificates are read again when a
// file changes, at most once a minute; told in the log once a day while something is about to end.

import type { Clock, Timer } from '../clock.ts';
import {
  type CertificateExpiry,
  type CertificateFile,
  certificateFiles,
  daysUntil,
  expiryWarning,
  readExpiry,
} from '../config/certificates.ts';
import type { GatewayConfig } from '../config/gateway-config.ts';
import { endWarning } from '../config/sections/client.ts';
import { fileRevision } from '../fs/plain-file.ts';
import type { Log } from '../logging/log.ts';

/** What expiries are made of. */
export interface ExpiriesDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The configuration in use. */
  readonly config: () => GatewayConfig;
}

const DAY_MS = 86_400_000;
/** Scrapes and status pages come often, certificates seldom change. */
const LOOK_AGAIN_MS = 60_000;

/** The certificates in use. Has a timer: whoever makes it closes it. */
export class Expiries {
  readonly #deps: ExpiriesDeps;
  readonly #known = new Map<string, { readonly revision: string; readonly expiry: CertificateExpiry | null }>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** The configuration that was looked at: another one is looked at at once. */
  #config: GatewayConfig | null = null;
  #list: readonly CertificateExpiry[] = [];
  #timer: Timer | null = null;

  constructor(deps: ExpiriesDeps) {
    this.#deps = deps;
  }

  /** One for each file of certificates that can be read. Asks the disk once a minute at most, and never throws. */
  certificates(): readonly CertificateExpiry[] {
    const { clock, config } = this.#deps;
    const now = clock.monotonic();
    const current = config();
    if (current === this.#config && now - this.#lookedAt < LOOK_AGAIN_MS) return this.#list;
    this.#lookedAt = now;
    this.#config = current;
    const files = certificateFiles(current);
    this.#list = files.flatMap((file) => this.#read(file) ?? []);
    return this.#list;
  }

  /** Warns once a day from tomorrow on: today's warnings come with the reading of the configuration. */
  start(): void {
    this.#timer ??= this.#deps.clock.after(DAY_MS, () => {
      this.#timer = null;
      this.warn();
      this.start();
    });
  }

  /** Writes a record for each certificate and each client that has ended or ends soon. */
  warn(): void {
    const { clock, log } = this.#deps;
    const now = clock.now();
    for (const expiry of this.certificates()) {
      const warning = expiryWarning(expiry, expiry.file, now);
      if (warning === null) continue;
      const { use, file, subject, expiresAt } = expiry;
      const daysLeft = daysUntil(expiresAt, now);
      log.warn({ use, file, subject, expiresAt: isoTime(expiresAt), daysLeft, warning }, 'certificate expires');
    }
    for (const { name, expiresAt } of this.#deps.config().clients) {
      const end = endWarning(expiresAt, now);
      if (end === null || expiresAt === null) continue;
      const warning = `client.${name}.expires ${end}`;
      log.warn(
        { client: name, expiresAt: isoTime(expiresAt), daysLeft: daysUntil(expiresAt, now), warning },
        'client expires',
      );
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #read(file: CertificateFile): CertificateExpiry | null {
    const key = `${file.use} ${file.file}`;
    const revision = fileRevision(file.file);
    const known = this.#known.get(key);
    // Of a bundle, one that has ended since may have others that go on.
    const isOver = known?.expiry != null && known.expiry.expiresAt <= this.#deps.clock.now();
    if (known?.revision === revision && !isOver) return known.expiry;
    const expiry = readExpiry(file);
    this.#known.set(key, { revision, expiry });
    return expiry;
  }
}

/** ISO 8601 in UTC; the last time that a date can hold for one beyond. */
function isoTime(at: number): string {
  return new Date(Math.min(at, 8.64e15)).toISOString();
}
