// The frame of every page of ours: HTML that escapes by default, one style, and headers under which nothing foreign
// runs, loads or frames it.

import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';

/** Markup that is safe as it is. Made by `html` only. */
export interface Html {
  readonly markup: string;
}

type Part = string | number | null | false | Html | readonly Html[];

/** A template whose values are escaped, save those that are Html already. Null and false are nothing. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { markup: strings.map((text, at) => text + markupOf(parts[at] ?? null)).join('') };
}

function markupOf(part: Part): string {
  if (part === null || part === false) return '';
  if (typeof part === 'string' || typeof part === 'number') return escapeHtml(String(part));
  return 'markup' in part ? part.markup : part.map(({ markup }) => markup).join('');
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

const STYLE = `:root{color-scheme:light dark;
--ink:#1d2430;--soft:#566072;--line:#d5dae2;--paper:#fff;--card:#f6f7f9;
--good:#14633a;--bad:#a3211b;--wait:#7a4b00;--link:#0b57c9}
@media (prefers-color-scheme:dark){:root{
--ink:#e7eaf0;--soft:#a9b2c1;--line:#39414e;--paper:#15191f;--card:#1e242c;
--good:#6fd39b;--bad:#ff9a90;--wait:#f0c06a;--link:#8ab8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header{max-width:64rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.5rem;color:var(--soft)}
main{padding-bottom:3rem}
body.narrow main,body.narrow header{max-width:40rem}
h1{font-size:1.6rem;line-height:1.25;margin:.4rem 0 1rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
h3{font-size:1.05rem;margin:0}
a{color:var(--link)}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
code{background:var(--card);border:1px solid var(--line);border-radius:.3rem;padding:.1rem .35rem}
.card{border:1px solid var(--line);border-radius:.6rem;background:var(--card);padding:1rem 1.2rem;margin:0 0 1rem}
.card code{background:var(--paper)}
.head{display:flex;flex-wrap:wrap;gap:.3rem .8rem;align-items:baseline}
.soft{color:var(--soft)}
.good,.bad,.wait{font-weight:650}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.25rem 1.2rem;margin:.7rem 0 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
@media (max-width:34rem){dl{grid-template-columns:1fr}dd+dt{margin-top:.5rem}}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .8rem .4rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}
.scroll{overflow-x:auto}
.scroll:focus-visible{outline:2px solid var(--link)}`;

const STYLE_SOURCE = sourceOf(STYLE);

/** A page and the policy it must go with. */
export interface Page {
  readonly text: string;
  readonly contentSecurityPolicy: string;
}

/**
 * What a page is made of. `script` is the text of its only script, which may talk to this gateway and to nobody else.
 */
export interface PageParts {
  readonly title: string;
  readonly body: Html;
  readonly isNarrow?: boolean;
  readonly script?: string;
  /** Seconds after which the browser loads it again, by itself. */
  readonly refreshS?: number | null;
}

/** Renders a page. The body's first heading is the page's own, `h1`. */
export function renderPage({ title, body, isNarrow = false, script, refreshS = null }: PageParts): Page {
  const scripts = script === undefined ? '' : `\n<script>${script}</script>`;
  const policy = [
    "default-src 'none'",
    `style-src ${STYLE_SOURCE}`,
    // The empty icon, which keeps browsers from asking for one.
    'img-src data:',
    ...(script === undefined ? [] : [`script-src ${sourceOf(script)}`, "connect-src 'self'"]),
    "form-action 'none'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    // No text becomes markup or script by way of the document.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  return {
    text: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refreshS === null ? '' : `<meta http-equiv="refresh" content="${refreshS}">\n`}<title>${escapeHtml(title)} - Genesys Cloud gateway</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body${isNarrow ? ' class="narrow"' : ''}>
<header>Genesys Cloud gateway</header>
<main>
${body.markup}
</main>${scripts}
</body>
</html>
`,
    contentSecurityPolicy: policy.join('; '),
  };
}

/** Headers that keep a page from being framed, sniffed, embedded or reached by others, flat. */
export const ISOLATION: readonly string[] = [
  ['X-Frame-Options', 'DENY'],
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
].flat();

/**
 * Sends a page: never kept, never framed, and telling nobody where the reader came from. `headers` is a flat list of
 * further ones.
 */
export function sendPage(
  response: ServerResponse,
  statusCode: number,
  page: Page,
  requestId: string,
  headers: readonly string[] = [],
): void {
  response.writeHead(statusCode, [
    'Content-Type',
    'text/html; charset=utf-8',
    'Content-Length',
    String(Buffer.byteLength(page.text)),
    'Content-Security-Policy',
    page.contentSecurityPolicy,
    ...ISOLATION,
    'Cache-Control',
    'no-store',
    'X-Gateway-Request-Id',
    requestId,
    ...headers,
  ]);
  response.end(response.req.method === 'HEAD' ? undefined : page.text);
}

function sourceOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
