// Durations as records show them: ms, to hundredths, as JSON.

/** `.01` for 1, `.1` for 10, nothing for 0. */
const FRACTIONS: readonly string[] = Array.from({ length: 100 }, (_, hundredths) => String(hundredths / 100).slice(1));

/** From here on not all hundredths are small integers, which are quick to write. */
const LARGE_HUNDREDTHS = 2 ** 30;

/** Hundredths of a ms are enough; NaN and infinities would not be JSON. A number's own text takes five times as long. */
export function shownMs(ms: number): string {
  const hundredths = Math.round(ms * 100);
  if (hundredths >= 0 && hundredths < LARGE_HUNDREDTHS) {
    const whole = Math.trunc(hundredths / 100);
    return `${whole}${FRACTIONS[hundredths - whole * 100]}`;
  }
  return Number.isFinite(hundredths) ? String(hundredths / 100) : '0';
}
