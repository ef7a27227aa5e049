// Bodies as the log shows them: decoded, redacted, cut and marked, and named only when they are binary.

import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { createBodyCapture } from '../../../src/logging/body-capture.ts';
import { createCanaries } from '../../helpers/canary.ts';

function show(
  body: string | Buffer,
  contentType: string | null,
  { maxBytes = 1024, contentEncoding = null as string | null, chunk = 7 } = {},
) {
  const capture = createBodyCapture({ maxBytes, contentType, contentEncoding });
  const bytes = Buffer.from(body as string);
  for (let at = 0; at < bytes.length; at += chunk) capture.write(bytes.subarray(at, at + chunk));
  return capture.render();
}

t.test('JSON is an object, redacted, in however many chunks it came', async (t) => {
  t.same(show('{"name":"Grüße","access_token":"abc"}', 'application/json; charset=UTF-8'), {
    name: 'Grüße',
    access_token: '[redacted]',
  });
  t.same(show('[{"password":"x"}]', 'application/vnd.x+json'), [{ password: '[redacted]' }]);
  t.same(show('\ufeff{"a":1}', 'application/json'), { a: 1 });
  t.equal(show('42', 'application/json'), '42');
  t.equal(show('', 'application/json'), '');
});

t.test('JSON under another type, or under none, is still read as JSON', async (t) => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', '', null])
    t.same(show('{"access_token":"abc def","b":1}', type), { access_token: '[redacted]', b: 1 });
});

t.test('broken JSON is text, redacted', async (t) => {
  t.equal(show('{"access_token":"abc def","b":1', 'application/json'), '{"access_token":"[redacted]","b":1');
});

t.test('forms and texts are redacted', async (t) => {
  t.equal(
    show('grant_type=authorization_code&code=zz&x=1', 'application/x-www-form-urlencoded'),
    'grant_type=authorization_code&code=[redacted]&x=1',
  );
  t.equal(show('<a><Password>zz</Password></a>', 'text/xml'), '<a><Password>[redacted]</Password></a>');
});

t.test('every encoding is undone for the log', async (t) => {
  const text = '{"name":"x","refresh_token":"abc"}';
  const shown = { name: 'x', refresh_token: '[redacted]' };
  t.same(show(gzipSync(text), 'application/json', { contentEncoding: 'gzip' }), shown);
  t.same(show(gzipSync(text), 'application/json', { contentEncoding: 'X-GZIP' }), shown);
  t.same(show(deflateSync(text), 'application/json', { contentEncoding: 'deflate' }), shown);
  t.same(show(deflateRawSync(text), 'application/json', { contentEncoding: 'deflate' }), shown);
  t.same(show(brotliCompressSync(text), 'application/json', { contentEncoding: 'br' }), shown);
  t.same(show(zstdCompressSync(text), 'application/json', { contentEncoding: 'zstd' }), shown);
  t.same(show(brotliCompressSync(gzipSync(text)), 'application/json', { contentEncoding: 'gzip, br' }), shown);
  t.same(show(text, 'application/json', { contentEncoding: 'identity' }), shown);
});

t.test('what is not what it claims to be is named by type and size', async (t) => {
  t.equal(show('not gzip', 'application/json', { contentEncoding: 'gzip' }), '[application/json, 8 bytes as gzip]');
  t.equal(show('abc', 'application/json', { contentEncoding: 'sdch' }), '[application/json, 3 bytes as sdch]');
  t.equal(show('a\0b', 'text/plain'), '[text/plain, 3 bytes]');
  t.equal(show(Buffer.from('{"password":"x"}', 'utf16le'), 'application/json'), '[application/json, 32 bytes]');
  t.equal(show('+AHs-', 'application/json; charset=utf-7'), '[application/json, 5 bytes]');
  t.equal(show(Buffer.from([0xff, 0xd8, 0xff]), null), '[no content type, 3 bytes]');
});

t.test('binary bodies are named by type and size and not kept', async (t) => {
  t.equal(show(Buffer.alloc(5000), 'image/png'), '[image/png, 5000 bytes]');
  t.equal(
    show('--x\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter2', 'multipart/form-data; boundary=x'),
    '[multipart/form-data, 63 bytes]',
  );
});

t.test('a longer body is cut and says so', async (t) => {
  const json = JSON.stringify({ first: 'kept', list: Array.from({ length: 100 }, (_, n) => n) });
  t.equal(show(json, 'application/json', { maxBytes: 32 }), '{"first":"kept","list":[0,1,2,3 [cut at 32 bytes of 315]');
  t.equal(
    show('ä'.repeat(10), 'text/plain', { maxBytes: 5 }),
    ' [cut at 5 bytes of 20]',
    'no half words: they could be half secrets',
  );
  t.equal(
    show('some words and Bearer abcdefghijklmnop', 'text/plain', { maxBytes: 26 }),
    'some words and Bearer  [cut at 26 bytes of 38]',
  );
  t.match(
    show(gzipSync(json), 'application/json', { maxBytes: 32, contentEncoding: 'gzip' }),
    /\[cut at \d+ bytes of \d+ bytes gzip\]$/,
  );
});

t.test('a bomb is shown up to the limit, in bounded memory', async (t) => {
  const bomb = gzipSync(Buffer.alloc(50_000_000, 'a '));
  const shown = show(bomb, 'text/plain', { maxBytes: 65536, contentEncoding: 'gzip', chunk: 16384 });
  t.type(shown, 'string');
  t.ok(String(shown).length <= 65536 + 100);
  t.match(shown, /^a a a .*\[cut at \d+ bytes of 48\d+ bytes gzip\]$/);
});

t.test('JSON nested deeper than any stack is shown without its depths', async (t) => {
  const depth = 20_000;
  const shown = show(`${'['.repeat(depth)}${']'.repeat(depth)}`, 'application/json', {
    maxBytes: 100_000,
    chunk: 10_000,
  });
  t.match(JSON.stringify(shown), /nested too deep/);
});

t.test('the kept bytes are a copy and never exceed the limit', async (t) => {
  const capture = createBodyCapture({ maxBytes: 10, contentType: 'text/plain', contentEncoding: null });
  const chunk = Buffer.from('one two ');
  capture.write(chunk);
  chunk.fill('x');
  capture.write(Buffer.from('three four five'));
  t.equal(capture.render(), 'one two  [cut at 10 bytes of 23]');
});

t.test('no secret of any kind survives in any kind of body', async (t) => {
  const canaries = createCanaries();
  const { accessToken, refreshToken, clientSecret, code, verifier, assertion, password, handle, channelId, cookie } =
    canaries;
  const fields = {
    access_token: accessToken,
    refresh_token: refreshToken,
    client_secret: clientSecret,
    code,
    code_verifier: verifier,
    assertion,
    password,
    note: handle,
    cookie,
  };
  const uri = `wss://streaming.mypurecloud.de/channels/${channelId}`;
  const bodies: [body: string, type: string][] = [
    [
      JSON.stringify({ ...fields, id: channelId, connectUri: uri, deep: [{ text: JSON.stringify(fields) }] }),
      'application/json',
    ],
    [new URLSearchParams(fields).toString(), 'application/x-www-form-urlencoded'],
    [`see ${uri} with Bearer ${accessToken.replaceAll('/', '')} or ${handle}, password: ${password}`, 'text/plain'],
  ];
  for (const [body, type] of bodies) {
    t.not(canaries.scan(body).length, 0, 'the control: the body itself is full of them');
    for (let maxBytes = 10; maxBytes < body.length + 10; maxBytes += 3) {
      const shown = show(body, type, { maxBytes, chunk: 1000 });
      const leaks = canaries.scan(typeof shown === 'string' ? shown : JSON.stringify(shown));
      if (leaks.length > 0) t.fail(`${type} cut at ${maxBytes}`, { leaks, shown });
    }
  }
});
