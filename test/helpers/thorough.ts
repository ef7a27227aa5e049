// How much a test looks at: `npm run test:long` looks at rarer rows and more of what is drawn by chance.

/** Whether this is the long run. */
export const isThorough = process.env.GCG_TEST_LONG !== undefined;

/** So many rounds of what is drawn by chance, here and in the long run. */
export function rounds(usual: number, thorough: number): number {
  return isThorough ? thorough : usual;
}
