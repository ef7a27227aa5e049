// `gcg open`: opens the live page of the running gateway in a browser, or prints its link.

import { formatListenAddress } from '../../config/listen-address.ts';
import { PAGE_PATH } from '../../inspector/page-place.ts';
import { adminAddress, createAdminRequest, exitCodeOf, loadToAsk, noGatewayAt, refusal } from '../admin-client.ts';
import type { CommandLine } from '../args.ts';
import { EXIT, type Io } from '../io.ts';
import { openBrowser } from './login.ts';

/** 0 when a link was made, 69 when no gateway runs, 77 when it wants another proof. */
export async function openPage(args: CommandLine, io: Io, open: typeof openBrowser = openBrowser): Promise<number> {
  const { config, isBroken, isGuess } = loadToAsk(args, io);
  const address = config.server.adminListen.find(({ kind }) => kind === 'tcp');
  const asked = adminAddress(config);
  if (asked?.kind === 'unix' && address === undefined) {
    io.stderr.write(
      `gcg: a browser cannot open ${formatListenAddress(asked)}: \`gcg tail\` shows calls in the terminal, and a ` +
        'server.admin_listen like 127.0.0.1:8081 serves the page\n',
    );
    return EXIT.failure;
  }
  if (isGuess) {
    io.stderr.write('gcg: where the gateway is cannot be read, and its key is not sent to a guess: say --listen\n');
    return EXIT.badConfig;
  }
  const ask = createAdminRequest(config, io, { forPage: true });
  const response = await ask('POST', '/-/ui/link').catch((error: Error) => error);
  if (response === null || response instanceof Error) {
    io.stderr.write(`gcg: ${response === null ? noGatewayAt(config) : response.message}\n`);
    return response === null && isBroken ? EXIT.badConfig : EXIT.unavailable;
  }
  if (response.error !== null) {
    io.stderr.write(`gcg: ${refusal(response.error)}\n`);
    return exitCodeOf(response.error);
  }
  const { code, seconds } = response.body as { code?: unknown; seconds?: unknown };
  if (typeof code !== 'string') {
    io.stderr.write('gcg: what answers there is no gateway of this version\n');
    return EXIT.unavailable;
  }
  const scheme = config.server.tls === null ? 'http' : 'https';
  const tcp = address === undefined ? '' : formatListenAddress(address);
  const host = tcp.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
  const url = `${scheme}://${host}${PAGE_PATH}#o=${code}`;
  if (!args.flags.has('print') && (await open(url, io))) {
    io.stderr.write(`A browser opens ${scheme}://${host}${PAGE_PATH}\n`);
    return EXIT.ok;
  }
  io.stdout.write(`${url}\n`);
  io.stderr.write(`The link opens the page once, within ${seconds} s.\n`);
  return EXIT.ok;
}
