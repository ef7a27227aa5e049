// examples/kubernetes and examples/compose as they are applied: what the real kubectl renders is what the schemas of
// Kubernetes know, holds no secret, may run under the Pod Security standard "restricted", and says about ports,
// addresses and times what its configuration says.

import { execFileSync } from 'node:child_process';
import { cpSync, globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { adminAddress } from '../../src/cli/admin-client.ts';
import type { GatewayConfig } from '../../src/config/gateway-config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createTestCa } from '../helpers/certificates.ts';
import {
  composeProblems,
  kubectl,
  kubectlPath,
  type Manifest,
  parseManifests,
  readCompose,
  readManifests,
  renderManifests,
  schemaProblems,
  withoutDeployTools,
} from '../helpers/manifests.ts';
import { PodPlaces } from '../helpers/pod.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string };
const IMAGE = `registry.example.com/genesys-cloud-gateway:${version}`;

/** What the four overlays, the job, and the files that are applied as they are come to. */
const RENDERS: ReadonlyMap<string, Manifest[]> = new Map(
  withoutDeployTools
    ? []
    : [
        ...['shared', 'instances', 'corporate', 'deployment', 'job'].map(
          (folder) => [folder, renderManifests(folder)] as const,
        ),
        ...['job-any-cluster', 'namespace'].map((name) => [name, readManifests(`kubernetes/${name}.yaml`)] as const),
      ],
);
const BEHIND_SERVICE = ['shared', 'instances', 'corporate'];
const BESIDE_APPLICATION = ['deployment', 'job', 'job-any-cluster'];

const only = (manifests: Manifest[], kind: string, name?: string): Manifest => {
  const found = manifests.filter((each) => each.kind === kind && (name === undefined || each.metadata.name === name));
  if (found.length !== 1) throw new Error(`${found.length} of kind ${kind}`);
  return found[0];
};
const workloadOf = (manifests: Manifest[]): Manifest => manifests.find(({ spec }) => spec?.template !== undefined);
const containersOf = (spec: Manifest): Manifest[] => [...(spec.initContainers ?? []), ...spec.containers];
const gatewayOf = (spec: Manifest): Manifest => containersOf(spec).find(({ name }) => name === 'gateway');

const ca = await createTestCa();
t.teardown(() => ca.close());
const SERVER = ca.issue(['localhost']);

/** The Secret that docs/kubernetes.md makes, the authority and the certificate of the company. */
const secretOf = (keys: readonly string[]) =>
  Object.fromEntries(keys.map((key) => [key, `${key}-${'0'.repeat(32)}\n`]));
const SECRETS = {
  'genesys-cloud': secretOf(['client_secret', 'app_secret', 'store_key', 'store_password']),
  'genesys-cloud-gateway-tls': { 'tls.crt': SERVER.cert, 'tls.key': SERVER.key },
};

/** The configuration of a render, as the gateway's own reader takes it. */
function configOf(t: Test, manifests: Manifest[]): GatewayConfig {
  const { spec } = workloadOf(manifests).spec.template;
  const configMaps = Object.fromEntries(
    manifests.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata, data }) => [metadata.name, data]),
  );
  const places = PodPlaces.toRead(t, spec, {
    configMaps: { ...configMaps, 'corporate-ca': { 'ca.crt': ca.caPem } },
    secrets: SECRETS,
  });
  const { args, env = [] } = gatewayOf(spec);
  const at = args.indexOf('--config');
  const named = at < 0 ? {} : { GCG_CONFIG: places.here(args[at + 1]) };
  const result = loadConfig({
    env: { ...named, ...Object.fromEntries(env.map(({ name, value }: Manifest) => [name, places.here(value)])) },
    cwd: '/',
    home: undefined,
    platform: 'linux',
    requireCredential: true,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  // That files can be read by others is told of one's own alone: on a cluster they are root's.
  const warnings = result.warnings.map(({ message }) => message).filter((text) => !text.startsWith('others can read'));
  const { clients, server } = result.config;
  if (clients.length > 0 && server.tls === null) t.match(warnings, [/without TLS.*in clear/]);
  else t.strictSame(warnings, []);
  return result.config;
}

for (const [name, manifests] of RENDERS) {
  t.test(`kubernetes: ${name}`, async (t) => {
    t.ok(manifests.length > 0);
    for (const manifest of manifests) {
      t.strictSame(await schemaProblems(manifest), [], manifest.kind);
      t.not(manifest.kind, 'Secret', 'secrets are made by hand');
      if (manifest.kind === 'ConfigMap') checkHoldsNoSecret(t, manifest);
    }
    const workload = workloadOf(manifests);
    if (workload === undefined) return;
    const { spec } = workload.spec.template;
    checkPod(t, spec);
    for (const container of containersOf(spec)) checkRestricted(t, spec, container);
    checkTimesAndPorts(t, spec, configOf(t, manifests));
  });
}

function checkHoldsNoSecret(t: Test, { data }: Manifest): void {
  for (const text of Object.values(data) as string[]) {
    t.notMatch(
      text,
      /^\s*(?:\w*secret|\w*password|\w*passphrase|encryption_key(?:_previous)?|\w+_token|assertion) *=/m,
    );
    t.notMatch(text, /PRIVATE KEY/);
  }
}

/** What Pod Security "restricted" asks of a pod, and what this gateway does not need. */
function checkPod(t: Test, spec: Manifest): void {
  for (const key of ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace']) t.equal(spec[key], undefined, key);
  t.equal(spec.automountServiceAccountToken, false, 'no token for Kubernetes');
  const names = containersOf(spec).map(({ name }) => name);
  t.equal(new Set(names).size, names.length, 'no name twice');
  for (const { name, restartPolicy, ...container } of spec.initContainers ?? [])
    if (restartPolicy !== 'Always')
      t.notMatch(Object.keys(container).join(), /Probe|lifecycle/, `${name} ends: Kubernetes takes no probe of it`);
  const kinds = spec.volumes.map(({ name: _, ...kind }: Manifest) => Object.keys(kind).join());
  for (const kind of kinds) t.ok(['configMap', 'secret', 'emptyDir', 'persistentVolumeClaim'].includes(kind), kind);
  // It changes all volumes of the pod, and the group of all its processes.
  t.equal(
    spec.securityContext?.fsGroup !== undefined,
    kinds.includes('persistentVolumeClaim'),
    'fsGroup for a disk alone',
  );
  for (const { secret } of spec.volumes.filter(({ secret }: Manifest) => secret !== undefined))
    t.equal(secret.defaultMode, 0o444, 'user 1000 can read what is root’s');
}

function checkRestricted(t: Test, spec: Manifest, container: Manifest): void {
  const { name, image, command, securityContext, resources, volumeMounts = [], env = [] } = container;
  const effective = { ...spec.securityContext, ...securityContext };
  t.match(effective, {
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  });
  t.ok(effective.runAsUser > 0, `${name}: a user by its number: the kubelet knows no names`);
  t.strictSame(Object.keys(effective.capabilities), ['drop']);
  t.match(resources, { requests: { cpu: /m$/, memory: /Mi$/ }, limits: { memory: /Mi$/ } });
  for (const { name, readOnly } of volumeMounts) {
    const { configMap, secret } = spec.volumes.find((volume: Manifest) => volume.name === name);
    if (configMap !== undefined || secret !== undefined) t.equal(readOnly, true, name);
  }
  const isOurs = command === undefined;
  if (isOurs) t.equal(image, IMAGE);
  else t.match(image, /:\d/, 'a version');
  if (!isOurs) t.notMatch(JSON.stringify(volumeMounts), /secret/, 'the application holds none');
  for (const { name, value } of env)
    t.ok(value === undefined || !/SECRET|PASSWORD|KEY|TOKEN/.test(name) || name.endsWith('_FILE'), name);
}

function checkTimesAndPorts(t: Test, spec: Manifest, { server }: GatewayConfig): void {
  t.ok(spec.terminationGracePeriodSeconds * 1000 > server.drainTimeoutMs + server.shutdownDelayMs, 'time to drain');
  const { ports, startupProbe, readinessProbe, livenessProbe } = gatewayOf(spec);
  const health = ports.find(({ name }: Manifest) => name === 'health').containerPort;
  t.match(server.healthListen, [{ kind: 'tcp', host: '0.0.0.0', port: health }]);
  for (const probe of [startupProbe, readinessProbe, livenessProbe].filter((probe) => probe !== undefined)) {
    t.equal(probe.httpGet.port, 'health');
    t.ok(['/livez', '/readyz'].includes(probe.httpGet.path));
  }
  t.equal(livenessProbe.httpGet.path, '/livez', 'a token that is missing is no reason to kill it');
}

t.test(
  'kubernetes: a gateway beside an application listens for that alone',
  { skip: withoutDeployTools },
  async (t) => {
    for (const name of BESIDE_APPLICATION) {
      const { server, clients } = configOf(t, RENDERS.get(name) as Manifest[]);
      t.match(server.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 8080 }], name);
      t.strictSame(clients, []);
    }
    const { config } = { config: configOf(t, RENDERS.get('job-any-cluster') as Manifest[]) };
    t.match(adminAddress(config), { host: '127.0.0.1', port: 8080 }, 'where the old job tells it to quit');
  },
);

t.test('kubernetes: a sidecar starts first and is no container of its own', { skip: withoutDeployTools }, async (t) => {
  const deployment = workloadOf(RENDERS.get('deployment') as Manifest[]).spec.template.spec;
  t.match(deployment.initContainers, [{ name: 'gateway', restartPolicy: 'Always' }]);
  t.equal(deployment.initContainers[0].startupProbe.httpGet.path, '/readyz', 'the application waits for a token');
  const job = workloadOf(RENDERS.get('job') as Manifest[]).spec.template.spec;
  const [check, gateway, ready] = job.initContainers;
  t.match(
    [check, gateway, ready],
    [{ args: ['check'] }, { restartPolicy: 'Always' }, { args: ['wait', '--fail-fast'] }],
  );
  t.equal(gateway.startupProbe.httpGet.path, '/livez', 'or it would be started anew for ever');
  for (const name of ['job', 'job-any-cluster']) {
    const { backoffLimit, activeDeadlineSeconds } = workloadOf(RENDERS.get(name) as Manifest[]).spec;
    // A minute each, and what Kubernetes waits between the tries: 10 s, then twice that.
    t.ok((backoffLimit + 1) * 60 + 10 * (2 ** backoffLimit - 1) < activeDeadlineSeconds, `${name} ends by itself`);
  }
});

t.test('kubernetes: the component finds its workloads by their label', { skip: withoutDeployTools }, async (t) => {
  const pod = { initContainers: [{ name: 'own', image: 'own:1' }], containers: [{ name: 'app', image: 'app:1' }] };
  const template = { spec: pod };
  const specs = {
    Deployment: { template },
    StatefulSet: { template },
    DaemonSet: { template },
    Job: { template },
    CronJob: { jobTemplate: { spec: { template } } },
  };
  const apps = Object.entries(specs).flatMap(([kind, spec]) =>
    ['sidecar', 'none'].map((label) => ({
      apiVersion: /Job/.test(kind) ? 'batch/v1' : 'apps/v1',
      kind,
      metadata: { name: `${kind.toLowerCase()}-${label}`, labels: { 'genesys-cloud-gateway': label } },
      spec,
    })),
  );
  const component = `${ROOT}examples/kubernetes/sidecar`;
  const files = globSync('*', { cwd: component }).map((name) => [name, readFileSync(`${component}/${name}`, 'utf8')]);
  const folder = t.testdir({
    sidecar: Object.fromEntries(files),
    overlay: {
      'kustomization.yaml': 'resources: [apps.yaml]\ncomponents: [../sidecar]\n',
      'apps.yaml': apps.map((app) => JSON.stringify(app)).join('\n---\n'),
    },
  });
  const rendered = parseManifests(kubectl(['kustomize', `${folder}/overlay`])).filter(({ spec }) => spec !== undefined);
  t.equal(rendered.length, apps.length);
  const podOf = ({ spec }: Manifest) => (spec.jobTemplate?.spec ?? spec).template.spec;
  for (const workload of rendered) {
    const names = containersOf(podOf(workload)).map(({ name }) => name);
    const inJob = ['gateway-check', 'gateway', 'gateway-ready'];
    const inPod = /Job/.test(workload.kind) ? inJob : ['gateway'];
    const added = workload.metadata.name.endsWith('-sidecar') ? inPod : [];
    t.strictSame(names, [...added, 'own', 'app'], workload.metadata.name);
    t.strictSame(Object.keys(podOf(workload)).toSorted(), [
      ...['containers', 'initContainers'],
      ...(added.length > 0 ? ['volumes'] : []),
    ]);
  }
  const [cronJob, job] = ['CronJob', 'Job'].map((kind) => only(rendered, kind, `${kind.toLowerCase()}-sidecar`));
  t.strictSame(podOf(cronJob), podOf(job), 'a CronJob has the pod of a Job');
});

t.test('kubernetes: a gateway behind a Service', { skip: withoutDeployTools }, async (t) => {
  for (const name of BEHIND_SERVICE) {
    const manifests = RENDERS.get(name) as Manifest[];
    const deployment = only(manifests, 'Deployment');
    const { labels } = deployment.spec.template.metadata;
    const service = only(manifests, 'Service');
    const budget = only(manifests, 'PodDisruptionBudget');
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
    for (const selector of [
      service.spec.selector,
      budget.spec.selector.matchLabels,
      deployment.spec.selector.matchLabels,
      ...policies.map(({ spec }) => spec.podSelector.matchLabels),
    ])
      t.strictSame(selector, labels, name);
    t.equal(only(manifests, 'ServiceAccount').automountServiceAccountToken, false);
    t.equal(budget.spec.maxUnavailable, 1, 'a node can be drained');

    const config = configOf(t, manifests);
    const { ports } = gatewayOf(deployment.spec.template.spec);
    const portOf = (name: string) => ports.find((port: Manifest) => port.name === name).containerPort;
    const [{ port, targetPort }] = service.spec.ports;
    t.equal(service.spec.ports.length, 1);
    t.match(config.server.listen, [{ host: '0.0.0.0', port: portOf(targetPort) }], name);
    t.equal(port, config.server.tls === null ? 80 : 443);
    t.match(config.server.adminListen, [{ host: '127.0.0.1' }], 'administration by kubectl exec alone');
    t.ok(config.server.shutdownDelayMs > 0, 'the endpoint is taken out of the Service meanwhile');
    const { name: host, namespace } = service.metadata;
    t.strictSame(config.server.allowedHosts, [
      ...[host, `${host}.${namespace}`, `${host}.${namespace}.svc`],
      `${host}.${namespace}.svc.cluster.local`,
    ]);
    checkWaysOut(t, policies, config);
    const ingress = policies.flatMap(({ spec }) => spec.ingress ?? []).flatMap(({ ports }) => ports);
    const served = name === 'corporate' ? [portOf('calls'), portOf('health')] : [portOf('calls')];
    t.strictSame(
      ingress.map(({ port }) => port),
      served,
    );
  }
});

/** What the policies let out is where the configuration leads, and nothing else. */
function checkWaysOut(t: Test, policies: Manifest[], { proxy, store }: GatewayConfig): void {
  const ports = policies
    .flatMap(({ spec }) => spec.egress ?? [])
    .flatMap(({ ports }) => ports.map(({ port }: Manifest) => port))
    .toSorted();
  const storePorts = store.type === 'redis' ? [6379] : [];
  const outside = proxy.url === null ? 443 : Number(new URL(String(proxy.url)).port);
  t.strictSame(ports, [53, 53, outside, ...storePorts].toSorted());
  for (const { to } of policies.flatMap(({ spec }) => spec.egress ?? [])) {
    t.ok(to?.length > 0, 'no way without an address');
    for (const { ipBlock } of to) {
      if (ipBlock === undefined || /\/(?:32|128)$/.test(ipBlock.cidr)) continue;
      t.equal(proxy.url, null, 'behind a proxy nothing but single addresses');
      // What is not the internet: the company's and the cluster's networks, and the metadata of clouds.
      const closed = /::/.test(ipBlock.cidr)
        ? ['fc00::/7', 'fe80::/10']
        : ['10.0.0.0/8', '100.64.0.0/10', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16'];
      t.strictSame(ipBlock.except, closed);
    }
  }
}

t.test('kubernetes: how many, and what they share', { skip: withoutDeployTools }, async (t) => {
  const of = (name: string) => only(RENDERS.get(name) as Manifest[], 'Deployment').spec;
  t.match(of('shared'), { replicas: 1, strategy: { type: 'Recreate' } }, 'a folder has one gateway');
  t.match(configOf(t, RENDERS.get('shared') as Manifest[]).store, { type: 'file', encryptionKey: {} });
  for (const name of ['instances', 'corporate']) {
    t.match(of(name), { replicas: 2, strategy: { rollingUpdate: { maxUnavailable: 0 } } }, name);
    const { store } = configOf(t, RENDERS.get(name) as Manifest[]);
    t.match(store, { type: 'redis', username: 'gcg', password: {}, encryptionKey: {} });
  }
  const corporate = configOf(t, RENDERS.get('corporate') as Manifest[]);
  t.match(corporate, { tls: { caFile: /ca\.crt$/ }, server: { tls: {} } });
  const monitor = only(RENDERS.get('corporate') as Manifest[], 'PodMonitor');
  t.match(monitor.spec.podMetricsEndpoints, [{ port: 'health', path: '/metrics' }]);
});

t.test('compose', { skip: withoutDeployTools }, async (t) => {
  for (const file of ['compose/compose.yaml', 'instances/compose.yaml']) {
    const compose = readCompose(file);
    t.strictSame(composeProblems(compose), [], file);
    const { gateway, ...others } = compose.services;
    t.match(gateway, {
      image: `genesys-cloud-gateway:${version}`,
      read_only: true,
      cap_drop: ['ALL'],
      restart: 'unless-stopped',
      security_opt: ['no-new-privileges:true'],
      mem_limit: '256m',
      user: '1000:1000',
    });
    const [, ofImage = ''] = /^HEALTHCHECK .*CMD (\[.*\])$/m.exec(readFileSync(`${ROOT}Dockerfile`, 'utf8')) ?? [];
    t.strictSame(gateway.healthcheck.test, ['CMD', ...JSON.parse(ofImage)], 'as the image asks');
    t.strictSame(gateway.secrets.toSorted(), Object.keys(compose.secrets).toSorted());
    const files = Object.entries(gateway.environment).filter(([name]) => name.endsWith('_FILE'));
    t.strictSame(
      files.map(([, path]) => path).toSorted(),
      gateway.secrets.map((name: string) => `/run/secrets/${name}`).toSorted(),
      'secrets are files, each of them handed in',
    );
    for (const service of Object.values(compose.services) as Manifest[])
      t.notMatch(service.network_mode ?? '', /service:/, 'a restart takes nobody’s network away');
    for (const { security_opt } of Object.values(others) as Manifest[])
      t.strictSame(security_opt, ['no-new-privileges:true']);
    const config = composeConfig(t, gateway.environment);
    t.ok(Number.parseInt(gateway.stop_grace_period, 10) * 1000 > config.server.drainTimeoutMs, 'time to drain');
  }
  const { services, networks } = readCompose('compose/compose.yaml');
  t.match(services.application, { read_only: true, cap_drop: ['ALL'], networks: ['application'] });
  t.equal(networks.application.internal, true, 'no way out but the gateway');
  t.match(services.application.depends_on.gateway, { condition: 'service_healthy' });
  const { services: instances, configs } = readCompose('instances/compose.yaml');
  t.equal(instances.gateway.deploy.replicas, 2);
  t.match(instances.front, { ports: ['127.0.0.1:8080:80'], depends_on: { gateway: { condition: 'service_healthy' } } });
  t.match(instances.valkey.command.at(-1), /\| valkey-server -$/);
  t.match(configs.valkey.content, /appendfsync always\nmaxmemory-policy noeviction\n/);
  t.match(composeConfig(t, instances.gateway.environment).store, { type: 'redis', password: {}, encryptionKey: {} });
});

/** What the environment of a service comes to, with a secret in each file. */
function composeConfig(t: Test, environment: Record<string, string>): GatewayConfig {
  const folder = t.testdir(SECRETS['genesys-cloud']);
  const moved = Object.entries(environment).map(([name, value]) => [name, value.replace('/run/secrets', folder)]);
  const result = loadConfig({
    env: Object.fromEntries(moved),
    cwd: '/',
    home: undefined,
    platform: 'linux' as const,
    requireCredential: true,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

/** Stands in for kubectl: what would reach a cluster is rendered by the real one, and kept. */
const KUBECTL = (real: string, folder: string) => `#!/bin/sh
keep() { cat > "$(mktemp ${folder}/XXXXXX.yaml)"; }
case " $* " in
  *--dry-run*|" kustomize "*) exec ${real} "$@" ;;
  " create "*) ${real} "$@" --dry-run=client --output=yaml | keep ;;
  " apply "*"-f - ") keep ;;
  " apply -f "*) keep < "$3" ;;
  " apply -k "*) ${real} kustomize "$3" | keep ;;
  *) echo "kubectl $*" > "$(mktemp ${folder}/XXXXXX.asked)" ;;
esac
`;

t.test('the commands of docs/kubernetes.md', { skip: withoutDeployTools }, async (t) => {
  const blocks = [...readFileSync(`${ROOT}docs/kubernetes.md`, 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)];
  // The Secret is made before it is handed in.
  const scripts = blocks.map(([, script = '']) => script).toSorted((a, b) => +/^umask/.test(b) - +/^umask/.test(a));
  const folder = t.testdir({ bin: {}, made: {}, examples: {} });
  writeFileSync(`${folder}/bin/docker`, '#!/bin/sh\n', { mode: 0o755 });
  cpSync(`${ROOT}examples`, `${folder}/examples`, { recursive: true });
  writeFileSync(`${folder}/bin/kubectl`, KUBECTL(kubectlPath(), `${folder}/made`), { mode: 0o755 });
  for (const script of scripts)
    execFileSync('sh', ['-e'], {
      input: script.replace(/^cat > (\S*client_secret)$/m, "echo 'the secret' > $1"),
      cwd: `${folder}/examples/${/docker compose/.test(script) ? 'compose' : 'kubernetes'}`,
      env: { HOME: '/nonexistent', PATH: `${folder}/bin:${process.env.PATH}` },
    });
  const made = globSync('*.yaml', { cwd: `${folder}/made` }).flatMap((name) =>
    parseManifests(readFileSync(`${folder}/made/${name}`, 'utf8')),
  );
  for (const manifest of made) t.strictSame(await schemaProblems(manifest), [], manifest.kind);
  const secrets = made.filter(({ kind }) => kind === 'Secret');
  t.equal(secrets.length, 2, 'made, and changed');
  for (const { metadata, data } of secrets) {
    t.match(metadata, { name: 'genesys-cloud', namespace: 'genesys-cloud' });
    t.equal(Buffer.from(data.client_secret, 'base64').toString(), 'the secret\n');
    const { data: config } = only(RENDERS.get('shared') as Manifest[], 'ConfigMap');
    const named = [...config['config.ini'].matchAll(/\/run\/secrets\/genesys-cloud\/(\w+)/g)].map(([, key]) => key);
    t.strictSame(Object.keys(data).toSorted(), named.toSorted(), 'what the configuration names');
  }
  t.strictSame(only(made, 'Namespace').metadata.name, 'genesys-cloud');
  t.match(only(made, 'PrometheusRule').spec.groups[0].rules[0].alert, 'GatewayDown');
  t.match(only(RENDERS.get('corporate') as Manifest[], 'PodMonitor').spec.jobLabel, 'app.kubernetes.io/name');
  t.ok(only(made, 'Deployment'));
  for (const { file } of Object.values(readCompose('compose/compose.yaml').secrets) as Manifest[])
    t.equal(statSync(`${folder}/examples/compose/${file}`).mode & 0o777, 0o600, file);
});

t.test('these checks find what is wrong', { skip: withoutDeployTools }, async (t) => {
  const [job] = readManifests('kubernetes/job-any-cluster.yaml');
  const [gateway] = job.spec.template.spec.containers;
  gateway.securityContext.readOnlyRootFileSystem = true;
  gateway.livenessProbe.httpget = {};
  t.strictSame(
    (await schemaProblems(job)).toSorted(),
    ['livenessProbe/httpget', 'securityContext/readOnlyRootFileSystem'].map(
      (field) => `/spec/template/spec/containers/0/${field}: no such field`,
    ),
  );
  job.spec.backoffLimit = 'two';
  t.match(await schemaProblems(job), [/backoffLimit must be integer/]);
  t.match(await schemaProblems({ ...job, kind: 'Jub' }), [/Jub/]);
  const compose = readCompose('compose/compose.yaml');
  compose.services.gateway.readonly = true;
  t.match(composeProblems(compose), [/gateway.*additional properties/]);
  t.throws(() => parseManifests('a: 1\na: 2'), /unique/);
});
