// The examples, and the clients that they are run with: a package of its own, which nobody else installs. Where it is not
// installed its tests are skipped with that word, on CI they fail.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RECIPES = `${ROOT}test/recipes/node_modules`;

/** What tap is told where the package is not installed: a reason to skip, or false. */
export const withoutRecipes: string | false =
  process.env.CI === 'true' || existsSync(RECIPES) ? false : 'npm ci --prefix test/recipes was not run';

/** The path of an example. */
export const example = (path: string): string => `${ROOT}examples/${path}`;

/** The folder of a package: ours, or of the recipes where we have none of that name. */
export const packageOf = (name: string): string =>
  existsSync(`${ROOT}node_modules/${name}`) ? `${ROOT}node_modules/${name}` : `${RECIPES}/${name}`;

/** Its package.json. */
export const recipePackage = (name: string): { readonly version: string } =>
  JSON.parse(readFileSync(`${packageOf(name)}/package.json`, 'utf8'));
