// Opens a browser, where there is one. The address is printed by whoever calls this, so that nothing depends on it.

import type { Io } from './io.ts';

/** What a browser may know of our environment: where to show itself, and nothing of ours. */
const PASSED_ON =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_.*|TZ|TMPDIR|BROWSER|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|XDG_.*|DBUS_.*|WSL.*|SystemRoot|windir|APPDATA|LOCALAPPDATA|USERPROFILE|PATHEXT|ComSpec|ProgramFiles.*)$/i;

/** Whether somebody sits before a screen: not in a container, nor at the far end of SSH. */
export function hasBrowser({ env, platform }: Pick<Io, 'env' | 'platform'>): boolean {
  if (env.BROWSER === 'none' || env.CI !== undefined) return false;
  if (platform === 'darwin' || platform === 'win32') return env.SSH_CONNECTION === undefined;
  return Boolean(env.DISPLAY || env.WAYLAND_DISPLAY || env.WSL_DISTRO_NAME);
}

/** True when something was started. Never throws. */
export async function openBrowser(url: string, io: Pick<Io, 'env' | 'platform'>): Promise<boolean> {
  if (!hasBrowser(io)) return false;
  const kept = { ...process.env };
  try {
    const { default: open } = await import('open');
    // The child inherits what is there when it starts.
    for (const name of Object.keys(process.env)) if (!PASSED_ON.test(name)) delete process.env[name];
    const child = await open(url);
    child.once('error', () => undefined);
    return true;
  } catch {
    // Without a browser the printed address is all there is.
    return false;
  } finally {
    Object.assign(process.env, kept);
  }
}
