// The examples for Kubernetes, Compose and systemd: well-formed, complete, and what they configure is a configuration
// that this gateway takes.

import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { adminAddress } from '../../src/cli/admin-client.ts';
import { loadConfig } from '../../src/config/load.ts';
import { inlineSecret } from '../../src/secret.ts';
import { credentialAt, startGateway } from '../helpers/gateway.ts';
import { parsePlainYaml } from '../helpers/plain-yaml.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
const read = (path: string) => readFileSync(`${EXAMPLES}${path}`, 'utf8');
// biome-ignore lint/suspicious/noExplicitAny: documents of foreign shapes
type Document = any;

/** What a container's environment and file come to, with every secret file there. */
function load(env: Record<string, string>, file: string | null) {
  const secretFiles = Object.entries(env).filter(([name]) => name.endsWith('_FILE'));
  // The gateway reads secret files itself: here their place is taken by one that exists.
  const here = Object.fromEntries(secretFiles.map(([name]) => [name, `${EXAMPLES}compose/compose.yaml`]));
  return loadConfig({
    env: { ...env, ...here, ...(file === null ? {} : { GCG_CONFIG: '/config.ini' }) },
    cwd: '/',
    home: undefined,
    platform: 'linux',
    readFile(path) {
      if (path !== '/config.ini' || file === null) throw Object.assign(new Error('no'), { code: 'ENOENT' });
      return {
        bytes: Buffer.from(file.replace(/_file = .*/g, `_file = ${EXAMPLES}compose/compose.yaml`)),
        mode: 0o600,
        uid: 0,
        names: [],
      };
    },
  });
}

const envOf = (container: Document): Record<string, string> =>
  Object.fromEntries(
    (container.env ?? []).map(({ name, value }: { name: string; value?: string }) => [name, value ?? 'from-a-secret']),
  );

function checkHardening(t: Test, container: Document): void {
  const { securityContext } = container;
  t.match(securityContext, { runAsNonRoot: 'true', readOnlyRootFilesystem: 'true', allowPrivilegeEscalation: 'false' });
  t.same(securityContext.capabilities.drop, ['ALL']);
  t.ok(
    container.volumeMounts.every(({ readOnly }: { readOnly?: string }) => readOnly === 'true'),
    'everything mounted is read-only',
  );
}

/**
 * Kubernetes gives the files of a secret to root; fsGroup gives them its group, without which the mode must allow
 * everybody.
 */
function checkSecretIsReadable(t: Test, spec: Document, container: Document): void {
  for (const { secret } of spec.volumes.filter(({ secret }: Document) => secret !== undefined)) {
    const mode = Number.parseInt(secret.defaultMode, 8);
    t.ok(
      mode & 0o004 || (mode & 0o040 && spec.securityContext?.fsGroup !== undefined),
      `user ${container.securityContext.runAsUser} can read it`,
    );
  }
}

t.test(
  'kubernetes: the sidecar is ready before the application and ends after it, and its configuration is good',
  async (t) => {
    const [configMap, deployment] = parsePlainYaml(read('kubernetes/sidecar.yaml')) as [Document, Document];
    const { spec } = deployment.spec.template;
    const [gateway] = spec.initContainers;
    t.equal(gateway.restartPolicy, 'Always', 'a native sidecar');
    t.equal(gateway.startupProbe.httpGet.path, '/readyz');
    t.equal(gateway.livenessProbe.httpGet.path, '/livez');
    // The action `sleep` of a preStop hook is refused by 1.29, and there is shutdown_delay.
    t.notOk(gateway.lifecycle);
    checkHardening(t, gateway);
    checkSecretIsReadable(t, spec, gateway);
    const result = load(envOf(gateway), configMap.data['config.ini']);
    if (!result.ok) return t.fail(JSON.stringify(result.problems));
    const { server } = result.config;
    t.match(server.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 8080 }]);
    t.match(server.healthListen, [{ port: Number(gateway.ports[0].containerPort) }], 'where the probes ask');
    t.ok(server.shutdownDelayMs > 0, 'the endpoint is taken out meanwhile');
    t.ok(Number(spec.terminationGracePeriodSeconds) * 1000 > server.drainTimeoutMs + server.shutdownDelayMs);
    t.notMatch(JSON.stringify(spec.containers), /secret/i, 'the application holds none');
  },
);

t.test('kubernetes: two instances share a store behind a Service, and one is always there', async (t) => {
  const documents = parsePlainYaml(read('instances/kubernetes.yaml')) as Document[];
  t.strictSame(
    documents.map(({ kind }) => kind),
    ['ConfigMap', 'Service', 'PodDisruptionBudget', 'Deployment'],
  );
  const [configMap, service, budget, deployment] = documents;
  const { spec } = deployment.spec.template;
  const [gateway] = spec.containers;
  checkHardening(t, gateway);
  checkSecretIsReadable(t, spec, gateway);
  const { labels } = deployment.spec.template.metadata;
  for (const selector of [
    service.spec.selector,
    budget.spec.selector.matchLabels,
    deployment.spec.selector.matchLabels,
  ])
    t.strictSame(selector, labels);
  t.ok(Number(budget.spec.minAvailable) < Number(deployment.spec.replicas), 'a node can be drained');
  const portOf = (name: string) => Number(gateway.ports.find((port: Document) => port.name === name).containerPort);
  // The stand-in for secret files holds several lines, which no secret of a caller may.
  const text = configMap.data['config.ini'].replace(/^secret_file = .*/m, 'secret = the secret of an application');
  const result = load({}, text);
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  const { server, store } = result.config;
  t.match(server.listen, [{ host: '0.0.0.0', port: portOf(service.spec.ports[0].targetPort) }]);
  t.match(server.healthListen, [{ port: portOf(gateway.readinessProbe.httpGet.port) }]);
  t.match(store, { type: 'redis', username: 'gcg', password: {}, encryptionKey: {} });
  t.ok(Number(spec.terminationGracePeriodSeconds) * 1000 > server.drainTimeoutMs + server.shutdownDelayMs);
  t.notMatch(configMap.data['config.ini'], /^(?:password|client_secret|encryption_key|secret) =/m, 'secrets are files');
});

t.test('kubernetes: the job waits for the gateway and ends it', async (t) => {
  const [job] = parsePlainYaml(read('kubernetes/job.yaml')) as [Document];
  const [gateway, main] = job.spec.template.spec.containers;
  checkHardening(t, gateway);
  checkSecretIsReadable(t, job.spec.template.spec, gateway);
  t.ok(Number(job.spec.activeDeadlineSeconds) > 0, 'what hangs is ended');
  const result = load(envOf(gateway), null);
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.match(result.config.server.adminListen, [{ host: '127.0.0.1', port: 8080 }], 'where it is asked to quit');

  const folder = t.testdir();
  const runAt = (port: number) => {
    const here = [
      ['127.0.0.1:8080', `127.0.0.1:${port}`],
      ['/tmp/users.json', `${folder}/users.json`],
      ['sleep 1', 'sleep 0'],
    ] as const;
    const script = here.reduce((text, [from, to]) => text.replaceAll(from, to), main.args[0] as string);
    return new Promise<{ code: number | null; stderr: string }>((resolve) => {
      const child = execFile('/bin/sh', ['-c', script], (_, __, stderr) => resolve({ code: child.exitCode, stderr }));
    });
  };
  const FREE = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const served = await startGateway(t, { config: { server: { adminListen: [FREE] } } });
  t.equal((await runAt(served.port)).code, 0);
  t.match(JSON.parse(readFileSync(`${folder}/users.json`, 'utf8')), { pageSize: 100 });
  await served.gateway.drain();
  t.equal(
    await fetch(`${served.url}/livez`).then(
      () => 'alive',
      () => 'gone',
    ),
    'gone',
    'it was told to quit',
  );

  const refused = await startGateway(t, {
    awaitReady: false,
    config: (origin) => ({
      server: { adminListen: [FREE] },
      credentials: [credentialAt(origin, { clientSecret: inlineSecret('not-the-secret', 'test') })],
    }),
  });
  const { code, stderr } = await runAt(refused.port);
  t.equal(code, 1, 'with a wrong secret it ends');
  t.match(stderr, /not ready after a minute.*"renewal":"rejected"/s, 'and says what the gateway says');
  t.equal(
    (await fetch(`${refused.url}/readyz`).then(
      ({ status }) => (status === 503 ? 'draining' : 'alive'),
      () => 'gone',
    )) !== 'alive',
    true,
  );
});

t.test('compose: the application shares the loopback, the secret is a file, and it waits for health', async (t) => {
  const [compose] = parsePlainYaml(
    read('compose/compose.yaml')
      .replace(/\$\{\w+:-([^}]*)\}/g, '$1')
      .replace(/\$\{\w+:\?[^}]*\}/g, 'a-client'),
  ) as [Document];
  const { gateway, 'legacy-app': app } = compose.services;
  t.equal(app.network_mode, 'service:gateway');
  t.match(app.depends_on.gateway, { condition: 'service_healthy', restart: 'true' });
  t.match(gateway, { read_only: 'true', cap_drop: ['ALL'], secrets: ['client_secret'] });
  t.match(gateway.healthcheck.test.at(-1), 'healthcheck');
  const result = load(gateway.environment, null);
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.ok(Number.parseInt(gateway.stop_grace_period, 10) * 1000 > result.config.server.drainTimeoutMs);
});

t.test('compose: two instances share a Valkey that forgets nothing, and no secret is on a command line', async (t) => {
  const [compose] = parsePlainYaml(
    read('instances/compose.yaml')
      .replace(/\$\{\w+:-([^}]*)\}/g, '$1')
      .replace(/\$\{\w+:\?[^}]*\}/g, 'a-client'),
  ) as [Document];
  const { gateway, valkey, front } = compose.services;
  t.equal(gateway.deploy.replicas, '2');
  t.match(gateway, { read_only: 'true', cap_drop: ['ALL'] });
  t.strictSame(gateway.secrets.toSorted(), Object.keys(compose.secrets).toSorted());
  t.match(front.depends_on.gateway, { condition: 'service_healthy' });
  t.match(front.ports, ['127.0.0.1:8080:80'], 'only this machine reaches it');
  const { GCG_CLIENT_APP_SECRET_FILE: _, ...others } = gateway.environment;
  // The stand-in for secret files holds several lines, which no secret of a caller may.
  const result = load({ ...others, GCG_CLIENT_APP_SECRET: 'the secret of an application' }, null);
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.match(result.config.store, { type: 'redis', password: {}, encryptionKey: {} });
  t.ok(Number.parseInt(gateway.stop_grace_period, 10) * 1000 > result.config.server.drainTimeoutMs);
  t.match(valkey.command.at(-1), /\| valkey-server -$/);
  t.match(compose.configs.valkey.content, /appendfsync always\nmaxmemory-policy noeviction\n/);
});

t.test('the image: not as root, without a shell, with the inspector signal off', async (t) => {
  const last =
    readFileSync(`${EXAMPLES}../Dockerfile`, 'utf8')
      .split(/^FROM /m)
      .at(-1) ?? '';
  const only = (instruction: string) =>
    [...last.matchAll(new RegExp(`^${instruction} +(.*)$`, 'gm'))].map(([, words]) => words);
  t.strictSame(only('USER'), ['node']);
  const flags = ['--disable-sigusr1', '--max-semi-space-size=2', '--no-maglev'];
  t.strictSame(JSON.parse(only('ENTRYPOINT')[0] ?? ''), ['node', ...flags, 'dist/main.js']);
  const [, ofCache = ''] = /\bnode ((?:--\S+ |\\\n +)+)dist\/main\.js demo /.exec(last) ?? [];
  t.strictSame(ofCache.match(/--\S+/g), flags, 'Node takes compiled code only where it was made with the same flags');
  t.match(last, /^ENV [^#]*\bMALLOC_ARENA_MAX=2$/m);
  const started = execFileSync(process.execPath, [...flags, '-p', 'process.execArgv.join()'], { encoding: 'utf8' });
  t.equal(started.trim(), [...flags, '-p', 'process.execArgv.join()'].join(), 'Node takes them all');
  t.strictSame(JSON.parse(only('CMD')[0] ?? ''), ['serve']);
  const env = Object.fromEntries([...last.matchAll(/(GCG_\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
  const loaded = (more: Record<string, string>, file: string | null) => {
    const result = load({ ...env, GCG_CREDENTIAL_CLIENT_ID: 'x', GCG_CREDENTIAL_CLIENT_SECRET: 'y', ...more }, file);
    return result.ok ? result.config : t.fail(JSON.stringify(result.problems));
  };
  const withClient = loaded({ GCG_CLIENT_APP_SECRET: 'a secret of 16 or more' }, null);
  t.match(withClient, { server: { listen: [{ host: '0.0.0.0', port: 8080 }] }, store: { type: 'file' } });
  t.match(withClient, { store: { path: '/var/lib/genesys-cloud-gateway' } });
  const mounted = loaded({}, '[server]\nlisten = 127.0.0.1:8081\n[store]\npath = /data\n');
  t.match(mounted, { server: { listen: [{ host: '127.0.0.1', port: 8081 }] }, store: { path: '/data' } });
  t.match(only('HEALTHCHECK'), [/CMD \["node", "dist\/main\.js", "healthcheck"\]$/], 'no shell either');
  t.ok(last.indexOf('\nUSER ') > last.lastIndexOf('\nRUN '), 'what needs rights is done before');
});

t.test('systemd: the units say what the gateway does', async (t) => {
  const service = read('systemd/genesys-cloud-gateway.service');
  for (const line of [
    'Type=notify',
    'NotifyAccess=all',
    'RestartPreventExitStatus=2 77 78',
    'DynamicUser=yes',
    'ProtectSystem=strict',
    'NoNewPrivileges=yes',
  ]) {
    t.match(service, new RegExp(`^${line}$`, 'm'), line);
  }
  t.match(service, /^LoadCredential=client_secret:/m);
  t.match(service, /^ExecStart=.* --disable-sigusr1 --max-semi-space-size=2 .* serve /m, 'as the image');
  t.match(service, /^Environment=.* MALLOC_ARENA_MAX=2$/m, 'as the image');
  t.match(service, /^ExecReload=.*-HUP/m);
  t.match(read('systemd/genesys-cloud-gateway.socket'), /^ListenStream=127\.0\.0\.1:8080$/m);
  const lines = service.match(/^# {3}(?:\[\w+\]|\w+ = .*)$/gm)?.map((line) => line.slice(4)) ?? [];
  const result = load({}, lines.join('\n'));
  if (!result.ok) return t.fail(JSON.stringify(result.problems));
  t.match(result.config.server.listen, [{ kind: 'fd', fd: 3 }]);
  t.match(adminAddress(result.config), { kind: 'tcp', host: '127.0.0.1', port: 8080 }, 'where gcg finds it');
});

t.test(
  'systemd-analyze verifies the units',
  { skip: existsSync('/usr/bin/systemd-analyze') ? false : 'no systemd-analyze here' },
  async (t) => {
    const units = ['service', 'socket'].map((kind) => `${EXAMPLES}systemd/genesys-cloud-gateway.${kind}`);
    const said = execFileSync('sh', ['-c', 'systemd-analyze verify "$@" 2>&1', 'sh', ...units], { encoding: 'utf8' });
    t.equal(
      said
        .split('\n')
        .filter((line) => line.includes('genesys-cloud-gateway'))
        .join('\n'),
      '',
    );
    // It ends with 1 where the exposure is above the threshold, in tenths.
    execFileSync(
      'sh',
      ['-c', 'systemd-analyze security --offline=true --threshold=20 --no-pager "$1"', 'sh', String(units[0])],
      { stdio: 'ignore' },
    );
  },
);

t.test('the reader of these files refuses what is wrong', async (t) => {
  for (const text of ['a: 1\na: 2', 'a:\n\tb: 1', 'a:\n  b: 1\n   c: 2', 'a: {b: 1}', 'just words'])
    t.throws(() => parsePlainYaml(text), text);
});
