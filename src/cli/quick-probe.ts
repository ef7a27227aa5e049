// `gcg healthcheck` without an option, as orchestrators run it every few seconds: a gateway that is ready is found, and
// asked, with as little code as that takes. For any other answer the command itself asks again, and says why.

import { plainProbeAddress } from '../config/probe-address.ts';
import { askBriefly, PROBE_TIMEOUT_MS, READINESS } from './ask-briefly.ts';
import { homeFolder, type Io } from './io.ts';

/** Whether a gateway that is ready answers at the address of the configuration. Never rejects. */
export async function isReady(env: Io['env']): Promise<boolean> {
  const address = plainProbeAddress({ env, home: homeFolder(env), cwd: process.cwd(), platform: process.platform });
  if (address === undefined) return false;
  try {
    return (await askBriefly(address, READINESS, PROBE_TIMEOUT_MS))?.status === 200;
  } catch {
    // Not in time: the command says so.
    return false;
  }
}
