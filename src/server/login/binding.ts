// The cookie that binds a login to the browser that began it. Its value is worth nothing to anybody else, and nothing without the login's state.

import { createBinding } from '../../auth/credentials/login.ts';
import { CALLBACK_PATH } from '../routes.ts';

const NAME = 'gcg_login';
const MAX_AGE_S = 600;
const VALUE = /^[\w-]{43}$/;

/** The binding that a browser shows, or null. */
export function readBinding(cookie: string | undefined): string | null {
  for (const pair of cookie?.split(';') ?? []) {
    const [name, value = ''] = pair.trim().split('=', 2);
    if (name === NAME && VALUE.test(value)) return value;
  }
  return null;
}

/** The browser's binding, or a new one. A browser that shows one keeps it, so that all its tabs share one login. */
export function bindBrowser(cookie: string | undefined, redirectUri: string): { binding: string; setCookie: string } {
  const binding = readBinding(cookie) ?? createBinding();
  const { protocol, pathname } = new URL(redirectUri);
  // Shown to the start page too, beside the callback: a second tab finds the login of the first.
  const path = pathname.slice(0, pathname.length - CALLBACK_PATH.length + '/-/'.length);
  const secure = protocol === 'https:' ? '; Secure' : '';
  return { binding, setCookie: `${NAME}=${binding}; Max-Age=${MAX_AGE_S}; Path=${path}; HttpOnly; SameSite=Lax${secure}` };
}
