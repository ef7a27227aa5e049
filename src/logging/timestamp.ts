// Renders times for records. The part up to the second is kept between calls: at a thousand records a second only the digits change.

/** `2026-11-24T12:00:01.123Z`, from epoch ms. */
export function createIsoClock(now: () => number): () => string {
  let second = Number.NaN;
  let prefix = '';
  return () => {
    const ms = Math.trunc(now());
    const current = Math.floor(ms / 1000);
    if (current !== second) {
      second = current;
      prefix = new Date(current * 1000).toISOString().slice(0, 20);
    }
    const rest = ms - current * 1000;
    return `${prefix}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
  };
}

/** `12:00:01.123` in local time, for a person at a terminal. */
export function localTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}
