// The gateway of examples/kubernetes and examples/compose as plain processes, by the rendered manifests themselves, in
// the order in which a cluster or Compose starts and ends them: the application waits for a token, the gateway ends
// after it, and a job ends by itself, with the reason in its output, also when the secret is wrong.

import { readFileSync, statSync } from 'node:fs';
import t, { type Test } from 'tap';
import { createSandbox } from '../../src/sandbox/sandbox.ts';
import {
  type Manifest,
  readCompose,
  readManifests,
  renderManifests,
  withoutDeployTools,
} from '../helpers/manifests.ts';
import { Pod, PodPlaces } from '../helpers/pod.ts';

const CLIENT_ID = '00000000-0000-0000-0000-000000000000';
const SECRET = 'the-secret-of-the-oauth-client';
const APP_SECRET = 'the-secret-of-the-application';
const GATEWAY_ENDS = 'gateway ended with 0';

/** Genesys Cloud, which knows the client of the manifests. */
async function startPlatform(t: Test): Promise<string> {
  const client = { id: CLIENT_ID, name: 'Of the manifests', secret: SECRET, grants: ['client_credentials'] as const };
  const sandbox = createSandbox({ clients: [client] });
  t.teardown(() => sandbox.close());
  return (await sandbox.listen()).origin;
}

interface Choices {
  readonly clientSecret?: string;
  /** Replaced in scripts: waits that are long on a cluster, names that are known there. */
  readonly scripts?: (text: string) => string;
}

/** The pod of a workload among the manifests, over a Secret with that client secret. */
async function podOf(
  t: Test,
  manifests: Manifest[],
  { clientSecret = SECRET, scripts = (text) => text }: Choices = {},
) {
  const workload = manifests.find(({ spec }) => spec?.template !== undefined);
  const configMaps = Object.fromEntries(
    manifests.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata, data }) => [metadata.name, data]),
  );
  const secret = { client_secret: `${clientSecret}\n`, app_secret: APP_SECRET, store_key: '0'.repeat(64) };
  const { spec } = workload.spec.template;
  const places = await PodPlaces.toRun(t, spec, { configMaps, secrets: { 'genesys-cloud': secret } });
  const pod = new Pod(t, spec, places, { origin: await startPlatform(t), scripts });
  return { pod, spec, places, job: workload.spec, exported: places.here('/export/users.json') };
}

/** The end of its log, of which Kubernetes keeps 2048 bytes as the message of its end. */
const lastWords = (pod: Pod, name: string) => pod.output(name).slice(-2048);

/** Whether a container's exit code ends the job, by the first rule that matches. */
function isFinal({ podFailurePolicy: { rules }, template }: Manifest, container: string, code: number): boolean {
  const rule = rules.find(
    ({ onExitCodes: { containerName, operator, values } }: Manifest) =>
      containerName === container && operator === 'In' && values.includes(code),
  );
  return rule?.action === 'FailJob' && template.spec.restartPolicy === 'Never';
}

/** Resolves when a container has written that. */
async function until(pod: Pod, name: string, text: string): Promise<void> {
  const container = pod.started.find((started) => started.name === name);
  while (!container?.output().includes(text))
    await new Promise((resolve) => container?.child.stdout?.once('data', resolve));
}

t.test('a deployment', { skip: withoutDeployTools }, async (t) => {
  const manifests = renderManifests('deployment');

  t.test('starts the application when there is a token, and ends the gateway after it', async (t) => {
    const { pod, spec } = await podOf(t, manifests);
    const [gateway] = spec.initContainers;
    const phase = await pod.run(async () => {
      await until(pod, 'app', '"entities"');
      for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
        t.equal(await pod.probe(gateway, gateway[probe]), true, probe);
    });
    t.equal(phase, 'Succeeded');
    t.strictSame(pod.events, [
      ...['gateway started', 'gateway ready', 'app started', 'app ended with 0'],
      GATEWAY_ENDS,
    ]);
    t.match(JSON.parse(pod.output('app')), { pageSize: 5 }, 'its first call was served');
  });

  t.test('does not start the application with a wrong secret, and the gateway says why', async (t) => {
    const { pod } = await podOf(t, manifests, { clientSecret: 'not-the-secret' });
    t.equal(await pod.run(), 'Blocked');
    t.strictSame(pod.events, ['gateway started', GATEWAY_ENDS]);
    t.match(lastWords(pod, 'gateway'), /client authentication failed: wrong client secret/);
    t.notMatch(pod.output('gateway'), 'not-the-secret');
  });
});

t.test('a job', { skip: withoutDeployTools }, async (t) => {
  const manifests = renderManifests('job');

  t.test('starts when there is a token, and ends by itself, the gateway after it', async (t) => {
    const { pod, exported } = await podOf(t, manifests);
    t.equal(await pod.run(), 'Succeeded');
    t.strictSame(pod.events, [
      ...['gateway-check started', 'gateway-check ended with 0', 'gateway started', 'gateway ready'],
      ...['gateway-ready started', 'gateway-ready ended with 0'],
      ...['export started', 'export ended with 0', GATEWAY_ENDS],
    ]);
    t.match(JSON.parse(readFileSync(exported, 'utf8')), { pageSize: 100 });
  });

  t.test('with a wrong secret fails at once, is not tried again, and says why', async (t) => {
    const { pod, job } = await podOf(t, manifests, { clientSecret: 'not-the-secret' });
    t.equal(await pod.run(), 'Failed');
    t.strictSame(pod.events.slice(2), [
      ...['gateway started', 'gateway ready', 'gateway-ready started', 'gateway-ready ended with 77'],
      GATEWAY_ENDS,
    ]);
    t.match(lastWords(pod, 'gateway-ready'), /client authentication failed: wrong client secret/);
    t.notMatch(pod.started.map(({ output }) => output()).join(''), 'not-the-secret');
    t.ok(isFinal(job, 'gateway-ready', 77), 'the job has failed, without another try');
  });

  t.test('with a wrong configuration fails before the gateway starts, and says what is wrong', async (t) => {
    const wrong = structuredClone(manifests);
    const { data } = wrong.find(({ kind }) => kind === 'ConfigMap');
    data['config.ini'] = data['config.ini'].replace('client_secret_file', 'client_secret_flie');
    const { pod, job } = await podOf(t, wrong);
    t.equal(await pod.run(), 'Failed');
    t.strictSame(pod.events, ['gateway-check started', 'gateway-check ended with 78']);
    t.match(lastWords(pod, 'gateway-check'), /config\.ini:\d+.*client_secret_flie/);
    t.ok(isFinal(job, 'gateway-check', 78));
  });
});

t.test('a job on a cluster that knows no sidecars', { skip: withoutDeployTools }, async (t) => {
  const file = () => readManifests('kubernetes/job-any-cluster.yaml');
  /** Its tries, and what is done between them in the place of a second's sleep. */
  const tries = (count: number, between: string) => (text: string) =>
    text.replace('-ge 60', `-ge ${count}`).replaceAll('sleep 1\n', `${between}\n`);

  t.test('waits for the gateway, and ends it', async (t) => {
    const { pod, exported } = await podOf(t, file(), { scripts: tries(6000, 'sleep 0.05') });
    t.equal(await pod.run(), 'Succeeded');
    t.strictSame(pod.events.slice(0, 2), ['gateway started', 'export started']);
    t.strictSame(pod.events.slice(2).sort(), ['export ended with 0', GATEWAY_ENDS]);
    t.match(JSON.parse(readFileSync(exported, 'utf8')), { pageSize: 100 });
  });

  t.test('with a wrong secret fails within its minute, says why, and ends the gateway', async (t) => {
    const scripts = (text: string) => {
      const [url] = /http:\S+\/readyz/.exec(text) ?? [];
      return tries(3, `until curl -s ${url} | grep -q rejected; do sleep 0.05; done`)(text);
    };
    const { pod } = await podOf(t, file(), { clientSecret: 'not-the-secret', scripts });
    t.equal(await pod.run(), 'Failed');
    t.strictSame(pod.events.slice(2).sort(), ['export ended with 1', GATEWAY_ENDS]);
    t.match(lastWords(pod, 'export'), /not ready after a minute.*"renewal":"rejected"/s);
  });

  t.test('with a gateway that cannot start fails as well', async (t) => {
    const manifests = file();
    const [gateway] = manifests[0].spec.template.spec.containers;
    gateway.env.at(-1).value = '/nowhere';
    const { pod } = await podOf(t, manifests, { scripts: tries(3, 'sleep 0.05') });
    t.equal(await pod.run(), 'Failed');
    t.ok(pod.events.includes('gateway ended with 78') && pod.events.includes('export ended with 1'));
    t.match(lastWords(pod, 'gateway'), /client_secret_file/);
  });
});

t.test('the shared gateway', { skip: withoutDeployTools }, async (t) => {
  const manifests = renderManifests('shared');
  const { data } = manifests.find(({ kind }) => kind === 'ConfigMap');
  data['config.ini'] = data['config.ini'].replace('shutdown_delay = 5', 'shutdown_delay = 0');
  const { pod, spec, places } = await podOf(t, manifests);
  const [container] = spec.containers;
  const at = (port: number, path: string, headers = {}) =>
    fetch(`http://127.0.0.1:${places.port(port)}${path}`, { headers }).then(({ status }) => status);
  const phase = await pod.run(async () => {
    await until(pod, 'gateway', '"ready"');
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
      t.equal(await pod.probe(container, container[probe]), true, probe);
    t.equal(await at(8080, '/api/v2/users', { 'X-Gateway-Key': APP_SECRET }), 200);
    t.equal(await at(8080, '/api/v2/users'), 401, 'nobody without a secret');
    t.equal(await at(8080, '/-/status', { 'X-Gateway-Key': APP_SECRET }), 404, 'the status is not for callers');
    t.equal(await at(8081, '/-/status', { 'X-Gateway-Key': APP_SECRET }), 403, 'nor for a client that is no admin');
    t.equal(await at(8082, '/metrics'), 200);
    t.equal(await at(8082, '/api/v2/users'), 404, 'no calls on the port of the probes');
    t.equal(statSync(places.here('/var/lib/genesys-cloud-gateway/store')).mode & 0o777, 0o700);
  });
  t.equal(phase, 'Succeeded', 'SIGTERM ends it with 0');
});

t.test('compose', { skip: withoutDeployTools }, async (t) => {
  const { gateway, application } = readCompose('compose/compose.yaml').services;
  /** A service as a container of a pod. */
  const container = (name: string, { environment, command }: Manifest) => ({
    name,
    ...(command === undefined ? { args: ['serve'] } : { command }),
    env: Object.entries(environment).map(([name, value]) => ({ name, value })),
    volumeMounts: [{ name: 'secrets', mountPath: '/run/secrets' }],
  });
  const [, ...test] = gateway.healthcheck.test as string[];
  const startupProbe = { exec: { command: test }, periodSeconds: 1, failureThreshold: 600 };
  const spec = {
    initContainers: [{ ...container('gateway', gateway), restartPolicy: 'Always', startupProbe }],
    containers: [container('application', application)],
    volumes: [{ name: 'secrets', secret: { secretName: 'genesys-cloud', defaultMode: 0o600 } }],
  };
  const byName = (text: string) => text.replaceAll('gateway:8080', '127.0.0.1:8080');
  spec.containers[0]?.env.forEach((each) => {
    each.value = byName(String(each.value));
  });
  const { pod } = await podOf(t, [{ kind: 'Service', spec: { template: { spec } } }]);
  const phase = await pod.run(() => until(pod, 'application', '"entities"'));
  t.equal(phase, 'Succeeded');
  t.match(JSON.parse(pod.output('application')), { pageSize: 5 }, 'it proved itself by its secret');
  t.strictSame(pod.events.slice(0, 3), ['gateway started', 'gateway ready', 'application started']);
});
