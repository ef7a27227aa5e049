// Puts other settings in the place of written ones, for commands that use a configuration elsewhere than it is meant
// for. What is dropped is not even looked at: its files need not be there, its commands do not run.

import type { Layer } from '../config/layers.ts';
import { type RawEntry, rawText } from '../config/values.ts';

/** Settings as `section.key`, or whole sections as `section`; those of `credential.crm` as `credential.*`. */
export type Dropped = (section: string, key: string) => boolean;

/** A layer without the entries, and the sections, that are dropped. */
export function withoutSettings(layer: Layer, isDropped: Dropped): Layer {
  const entries = layer.entries.filter(({ section, key }) => !isDropped(section, key));
  return {
    ...layer,
    entries,
    ...(layer.sections && { sections: layer.sections.filter((one) => !isDropped(one.section, '')) }),
  };
}

/** A layer of settings by `[section, key, value]`; messages call it `origin`. */
export function layerOf(
  settings: readonly (readonly [section: string, key: string, value: string])[],
  origin: string,
): Layer {
  const entries = settings.map(
    ([section, key, value]): RawEntry => ({ section, key, value: rawText(value), location: origin }),
  );
  return { entries, baseFolder: '/', laterWins: true };
}
