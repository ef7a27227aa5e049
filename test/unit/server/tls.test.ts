// The files of [server.tls] over time, apart from any connection.

import { copyFileSync } from 'node:fs';
import t from 'tap';
import { createServerTls } from '../../../src/server/tls.ts';
import { createTestCa } from '../../helpers/certificates.ts';
import { createTestLog } from '../../helpers/gateway.ts';

const ca = await createTestCa();
t.teardown(() => ca.close());

t.test('a certificate that is renewed while it is read for the first time is used from the next look on', async (t) => {
  const files = ca.issue(['localhost']);
  const renewed = ca.issue(['localhost']);
  let looks = 0;
  const tls = createServerTls(
    {
      // Renewed when the first pass over the files is over, whatever that was made for.
      get certFile() {
        looks += 1;
        if (looks === 2) {
          copyFileSync(renewed.certFile, files.certFile);
          copyFileSync(renewed.keyFile, files.keyFile);
        }
        return files.certFile;
      },
      keyFile: files.keyFile,
      clientCaFile: null,
    },
    createTestLog(),
  );
  t.teardown(() => tls.close());
  tls.refresh();
  t.equal(tls.options.cert?.toString(), renewed.cert);
});
