// Calls as a file of the browser's: made by the gateway, without a secret in it, and saved where downloads go.

import type { App } from './view.ts';

/** Which calls, and what of their bodies. */
export type ExportWish = { readonly bodies?: 'none' | 'shape' } & (
  | { readonly f: string }
  | { readonly ids: readonly string[] }
);

/** Saves calls as an HTTP archive, and says what came of it. */
export async function exportHar(app: App, wish: ExportWish): Promise<void> {
  try {
    const response = await app.session.request('export', { method: 'POST', body: JSON.stringify(wish) });
    const [, name = 'calls.har'] = /filename="([\w.-]+)"/.exec(response.headers.get('Content-Disposition') ?? '') ?? [];
    const url = URL.createObjectURL(await response.blob());
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    URL.revokeObjectURL(url);
    app.tell(`Saved as ${name}`);
  } catch (error) {
    app.tell(`No file: ${(error as Error).message}`);
  }
}
