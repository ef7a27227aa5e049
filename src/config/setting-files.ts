// Settings that point elsewhere: paths, and secrets in files or environment variables. Problems name the place, never the value.

import { isGatewayError } from '../errors.ts';
import { isReadableByOthers } from '../fs/permissions.ts';
import { pathsOf } from './config-file.ts';
import type { ReaderContext } from './reader-context.ts';
import { fileSecret, inlineSecret, type SecretSource } from './secret-source.ts';
import type { Setting } from './settings.ts';
import { isPrintable } from './values.ts';

/** An absolute path: `~/x` is in the home folder, a relative one in the folder of the file that names it. */
export function resolvePath(path: string, baseFolder: string, { home, platform }: Pick<ReaderContext, 'home' | 'platform'>): string {
  const paths = pathsOf(platform);
  if (home !== undefined && /^~[/\\]/.test(path)) return paths.join(home, path.slice(2));
  return paths.resolve(baseFolder, path);
}

/** The source of a secret; null, with a problem added, when it holds nothing that could be used. */
export function resolveSecret(setting: Setting, context: ReaderContext): SecretSource | null {
  const { value, form, where, label: key, baseFolder } = setting;
  const fail = (message: string): null => {
    context.problems.push({ where, key, message });
    return null;
  };
  if (value.type === 'broken') return null;
  if (value.type !== 'text') return fail('must be text; write it in double quotes');
  if (value.text.trim() === '') return fail('is empty; give a value or leave the key out');
  if (form === 'value') {
    if (!isPrintable(value.text)) return fail('holds control characters');
    return inlineSecret(value.text, where);
  }
  if (form === 'env') {
    const variable = value.text.trim();
    const content = context.env[variable];
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)) return fail('must be the name of an environment variable, not its value');
    // What does not look like a variable's name may be the secret itself, in the wrong key.
    const named = /^[A-Z_][A-Z0-9_]*$/.test(variable) ? `the environment variable ${variable}` : 'the environment variable it names';
    if (content === undefined) return fail(`${named} is not set`);
    if (content.trim() === '') return fail(`${named} is empty`);
    return inlineSecret(content, `env ${variable}`);
  }
  const path = resolvePath(value.text.trim(), baseFolder, context);
  const source = fileSecret(path);
  context.referencedFiles.add(path);
  try {
    source.read();
    if (isReadableByOthers(path))
      context.warnings.push({ where, key, message: `others can read ${path}, which holds a secret; run chmod 600 on it` });
    return source;
  } catch (error) {
    return fail(isGatewayError(error) ? error.message : `secret file ${path} cannot be read`);
  }
}
