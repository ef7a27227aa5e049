// A secret of the configuration is in no record of a running gateway, wherever a caller puts it.

import t from 'tap';
import { exchangeRaw } from '../helpers/raw-http.ts';
import { get, SECRETS, startWithSecrets } from '../helpers/serve-with-secrets.ts';

t.test(
  'a secret of the configuration that a caller puts anywhere is in no record, and the rest of the record is',
  async (t) => {
    for (const level of ['info', 'trace']) {
      const { port, recorded, output } = await startWithSecrets(t, `log_level = ${level}\nlog_request_body = yes`);
      const forms = Object.values(SECRETS).flatMap((secret) => [
        encodeURIComponent(secret),
        Buffer.from(secret).toString('hex').replace(/../g, '%$&'),
        encodeURIComponent(JSON.stringify({ note: secret })),
        ...['', 'a', 'ab'].map((before) =>
          encodeURIComponent(Buffer.from(`${before}${secret} and more`).toString('base64')),
        ),
      ]);
      const body = JSON.stringify({ note: SECRETS, text: `it is ${SECRETS.local}, they say` });
      for (const form of forms) {
        await exchangeRaw(
          port,
          get(`/api/v2/seen/${form}/end?note=${form}`, `X-Note: ${decodeURIComponent(form)}\r\n`),
        );
        await exchangeRaw(
          port,
          get(`/api/v2/long?q=${'a'.repeat(8192 - '/api/v2/long?q=/'.length - Math.ceil(form.length / 2))}/${form}`),
        );
      }
      const key =
        `X-Gateway-Key: ${SECRETS.local}\r\nContent-Type: application/json\r\nContent-Length: ` +
        `${Buffer.byteLength(body)}\r\n`;
      await exchangeRaw(
        port,
        `POST /api/v2/body HTTP/1.1\r\nHost: localhost\r\n${key}Connection: close\r\n\r\n${body}`,
      );
      await recorded(`the-end-${level}`);
      const written = output();
      for (const secret of Object.values(SECRETS)) {
        for (const piece of [
          secret,
          encodeURIComponent(secret),
          JSON.stringify(secret).slice(1, -1),
          Buffer.from(secret).toString('base64').slice(0, -4),
        ])
          t.notOk(written.includes(piece), `${level}: ${piece}`);
      }
      for (const shown of ['/api/v2/seen/[redacted]', '[cut at ', '/api/v2/body', `the-end-${level}`])
        t.ok(written.includes(shown), shown);
      if (level === 'trace')
        t.match(written, /"requestBody":\{"note":\{"upstream":"\[redacted\]","local":"\[redacted\]"/);
      for (const line of written.split('\n').filter((each) => each.startsWith('{'))) JSON.parse(line);
    }
  },
);
