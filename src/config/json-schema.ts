// The option table as a JSON Schema (2020-12), for editors that complete JSON configurations. The strict checks are
// made at loading.

import { RESERVED_NAMES } from './layers.ts';
import type { Option, SectionName } from './options/option.ts';
import { isNamedSection, optionsOf, SECTION_DOCS, SECTION_NAMES } from './options/table.ts';

/** A schema document or a part of one. */
type JsonSchema = { readonly [key: string]: unknown };

const NAME_PATTERN = `^(?!(?:${[...RESERVED_NAMES].join('|')})$)[a-z0-9][a-z0-9-]*$`;
const DURATION = {
  anyOf: [
    { type: 'number', minimum: 0 },
    { type: 'string', pattern: '^\\d+(\\.\\d+)?\\s*(ms|s|m|h)?$' },
  ],
};
const BOOLEAN = { anyOf: [{ type: 'boolean' }, { enum: ['true', 'false', 'yes', 'no', 'on', 'off', '1', '0'] }] };
const TEXTS = { type: 'array', items: { type: 'string' } };

/** The schema of a JSON configuration file. */
export function jsonSchema(): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const section of SECTION_NAMES.filter((name) => !name.includes('.')))
    properties[section] = sectionSchema(section);
  properties.upstream = {
    type: 'object',
    additionalProperties: false,
    properties: {
      headers: {
        type: 'object',
        description: SECTION_DOCS['upstream.headers'],
        additionalProperties: { type: 'string' },
      },
    },
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'genesys-cloud-gateway configuration',
    type: 'object',
    additionalProperties: false,
    properties: { $schema: { type: 'string' }, ...properties },
  };
}

function sectionSchema(section: SectionName): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const option of optionsOf(section)) {
    properties[option.key] = optionSchema(option);
    if (option.isSecret) {
      properties[`${option.key}_file`] = { type: 'string', description: `A file that holds ${option.key}.` };
      properties[`${option.key}_env`] = {
        type: 'string',
        description: `The environment variable that holds ${option.key}.`,
      };
    }
  }
  const base = { type: 'object', description: SECTION_DOCS[section] };
  if (section === 'client') {
    return {
      ...base,
      additionalProperties: false,
      patternProperties: { [NAME_PATTERN]: { type: 'object', additionalProperties: false, properties } },
    };
  }
  if (isNamedSection(section)) {
    const named = { type: 'object', additionalProperties: false, properties };
    return {
      ...base,
      properties,
      additionalProperties: false,
      patternProperties: { [withoutKeys(Object.keys(properties))]: named },
    };
  }
  if (section === 'server') properties.tls = sectionSchema('server.tls');
  return { ...base, additionalProperties: false, properties };
}

/**
 * Names beside keys, `{"credential": {"client_id": …, "crm": {…}}}`: a pattern that leaves the keys to `properties`.
 */
function withoutKeys(keys: readonly string[]): string {
  return NAME_PATTERN.replace('^', `^(?!(?:${keys.join('|')})$)`);
}

function optionSchema(option: Option): JsonSchema {
  return {
    description: option.doc,
    ...kindSchema(option),
    ...(option.default === null ? {} : { default: nativeDefault(option) }),
  };
}

function kindSchema({ kind }: Option): JsonSchema {
  switch (kind.type) {
    case 'boolean':
      return BOOLEAN;
    case 'duration':
      return DURATION;
    case 'integer':
      return { type: 'integer', minimum: kind.min ?? 0, ...(kind.max === undefined ? {} : { maximum: kind.max }) };
    case 'integerOr':
      return { anyOf: [{ const: kind.word }, { type: 'integer', minimum: kind.min }] };
    case 'choice':
      return { enum: kind.of };
    case 'commaList':
      return { anyOf: [TEXTS, { type: 'string' }] };
    case 'itemList':
      return { anyOf: [TEXTS, { type: 'string' }] };
    case 'text':
    case 'path':
      return { type: 'string' };
  }
}

function nativeDefault({ kind, default: text }: Option): unknown {
  if (kind.type === 'boolean') return text === 'true';
  const isNumber =
    (kind.type === 'duration' || kind.type === 'integer' || kind.type === 'integerOr') && /^\d+$/.test(text ?? '');
  return isNumber ? Number(text) : text;
}
