// The option table as a JSON Schema (2020-12), for editors that complete JSON configurations. Loading checks more
// strictly.

import { RESERVED_NAMES } from './layers.ts';
import type { Option, OptionKind } from './option.ts';
import type { OptionRow, SectionInfo } from './section.ts';
import { serverTls } from './sections/server.ts';
import { upstreamHeaders } from './sections/traffic.ts';
import { SECTIONS } from './table.ts';

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
  const plain = SECTIONS.filter(({ name }) => !name.includes('.'));
  const properties: Record<string, JsonSchema> = Object.fromEntries(
    plain.map((section) => [section.name, sectionSchema(section)]),
  );
  properties.upstream = {
    type: 'object',
    additionalProperties: false,
    properties: {
      headers: {
        type: 'object',
        description: upstreamHeaders.doc,
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

function sectionSchema({ name, doc, isNamed, rows }: SectionInfo): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const option of rows) {
    properties[option.key] = optionSchema(option);
    if (option.isSecret) {
      properties[`${option.key}_file`] = { type: 'string', description: `A file that holds ${option.key}.` };
      properties[`${option.key}_env`] = {
        type: 'string',
        description: `The environment variable that holds ${option.key}.`,
      };
    }
  }
  const base = { type: 'object', description: doc };
  if (name === 'client') {
    return {
      ...base,
      additionalProperties: false,
      patternProperties: { [NAME_PATTERN]: { type: 'object', additionalProperties: false, properties } },
    };
  }
  if (isNamed) {
    const named = { type: 'object', additionalProperties: false, properties };
    return {
      ...base,
      properties,
      additionalProperties: false,
      patternProperties: { [withoutKeys(Object.keys(properties))]: named },
    };
  }
  if (name === 'server') properties.tls = sectionSchema(serverTls);
  return { ...base, additionalProperties: false, properties };
}

/**
 * Names beside keys, `{"credential": {"client_id": …, "crm": {…}}}`: a pattern that leaves the keys to `properties`.
 */
function withoutKeys(keys: readonly string[]): string {
  return NAME_PATTERN.replace('^', `^(?!(?:${keys.join('|')})$)`);
}

function optionSchema(option: OptionRow): JsonSchema {
  return {
    description: option.doc,
    ...kindSchema(option.kind),
    ...(option.default === null ? {} : { default: nativeDefault(option) }),
  };
}

function kindSchema(kind: OptionKind): JsonSchema {
  switch (kind.type) {
    case 'boolean':
      return BOOLEAN;
    case 'duration':
      return DURATION;
    case 'integer':
      return { type: 'integer', minimum: kind.min, ...(kind.max === null ? {} : { maximum: kind.max }) };
    case 'fraction':
      return { type: 'number', minimum: 0, maximum: 1 };
    case 'integerOr':
      return { anyOf: [{ const: kind.word }, { type: 'integer', minimum: kind.min }] };
    case 'choice':
      return { enum: kind.of };
    case 'commaList':
    case 'itemList':
      return { anyOf: [TEXTS, { type: 'string' }] };
    case 'text':
    case 'path':
      return { type: 'string' };
  }
}

function nativeDefault({ kind, default: text }: Option): unknown {
  if (kind.type === 'boolean') return text === 'true';
  const isNumber = ['duration', 'integer', 'integerOr', 'fraction'].includes(kind.type) && /^[\d.]+$/.test(text ?? '');
  return isNumber ? Number(text) : text;
}
