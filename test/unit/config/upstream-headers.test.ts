// [upstream.headers]: headers for every forwarded call, but not those the gateway sets or removes.

import t from 'tap';
import { good, problems, withCredential } from './load-text.ts';

const headersOf = (text: string) => good(withCredential(`[upstream.headers]\n${text}`)).upstreamHeaders;
const problemsOf = (text: string) => problems(withCredential(`[upstream.headers]\n${text}`));

t.test('names and values are kept as written', async (t) => {
  t.strictSame(headersOf('Genesys-App = my app; v1'.replace(';', '\\;')), [['Genesys-App', 'my app; v1']]);
  t.strictSame(headersOf('X-Empty ='), [['X-Empty', '']]);
});

t.test('headers of the gateway, broken names and broken values are refused', async (t) => {
  for (const name of [
    'Authorization',
    'cookie',
    'Host',
    'Content-Length',
    'X-Gateway-Credential',
    'x_gateway_key',
    'X-Forwarded-For',
    'Proxy-Authorization',
    'Transfer-Encoding',
    'Sec-WebSocket-Key',
  ]) {
    t.match(
      problemsOf(`${name} = x`),
      [/^gcg\.ini:5: upstream\.headers: .*set or removed by the gateway itself/],
      name,
    );
  }
  t.match(problemsOf('bad name = x'), [/is not a header name/]);
  t.match(problemsOf('X-A = "a\\r\\nX-B: c"'), [/characters that a header cannot hold/]);
  t.match(problemsOf('X-A = ☃'), [/characters that a header cannot hold/]);
  t.match(problemsOf('X-A = 1\nx-a = 2'), [/already set at gcg\.ini:5/]);
});
