// Which of proxy-agent's agents opens tunnels for a kind of proxy: its own table chooses. Loaded only when a proxy is used.

import type { HttpsProxyAgent } from 'https-proxy-agent';
import type { SocksProxyAgent } from 'socks-proxy-agent';

/** The agent class for tunnels through HTTP and HTTPS proxies. */
export async function httpTunnelAgent(protocol: 'http' | 'https'): Promise<typeof HttpsProxyAgent> {
  const { proxies } = await import('proxy-agent');
  // The second of a pair is the one that tunnels; the first would send requests in absolute form.
  return (await proxies[protocol][1]()) as unknown as typeof HttpsProxyAgent;
}

/** The agent class for SOCKS proxies of any version. */
export async function socksAgent(protocol: 'socks4' | 'socks4a' | 'socks5' | 'socks5h'): Promise<typeof SocksProxyAgent> {
  const { proxies } = await import('proxy-agent');
  return (await proxies[protocol][1]()) as unknown as typeof SocksProxyAgent;
}
