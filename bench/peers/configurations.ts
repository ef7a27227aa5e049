// The configurations of the peers that are programs of their own: what a reader of their manuals would write for the
// same work: a kept TLS connection to the upstream, a fixed bearer, one line of log a request. Bodies stream in both
// directions, as they do in the gateway.

/** Where a peer listens, what it forwards to, and where it may write. */
export interface PeerPlace {
  readonly listen: string;
  readonly upstreamPort: number;
  readonly caFile: string;
  readonly folder: string;
}

/** `nginx.conf` for one worker. */
export function nginxConfiguration({ listen, upstreamPort, caFile, folder }: PeerPlace): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr error;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http {
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  log_format line escape=json '{"time":"$time_iso8601","level":"info","method":"$request_method","path":"$uri",'
    '"status":$status,"durationMs":$request_time,"upstreamMs":"$upstream_response_time","peer":"$remote_addr",'
    '"bytes":$body_bytes_sent,"requestId":"$request_id","userAgent":"$http_user_agent"}';
  access_log /dev/null line;
  keepalive_timeout 3600s;
  keepalive_requests 100000000;
  client_max_body_size 0;
  upstream platform {
    server 127.0.0.1:${upstreamPort};
    keepalive 1024;
    keepalive_timeout 3600s;
    keepalive_requests 100000000;
  }
  server {
    listen ${listen};
    location / {
      proxy_pass https://platform;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost:${upstreamPort};
      proxy_set_header Authorization "Bearer benchmark-token";
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate ${caFile};
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }
  }
}
`;
}

/** `haproxy.cfg` for one thread. */
export function haproxyConfiguration({ listen, upstreamPort, caFile }: PeerPlace): string {
  return `global
  log stdout format raw local0
  nbthread 1
  maxconn 4096
defaults
  mode http
  log global
  option httplog
  timeout connect 10s
  timeout client 3600s
  timeout server 3600s
frontend callers
  bind ${listen}
  default_backend platform
backend platform
  http-reuse always
  http-request set-header Host localhost:${upstreamPort}
  http-request set-header Authorization "Bearer benchmark-token"
  server platform 127.0.0.1:${upstreamPort} ssl verify required ca-file ${caFile} sni str(localhost) pool-purge-delay 3600s
`;
}
