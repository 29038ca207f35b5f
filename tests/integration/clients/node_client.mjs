// @kubernetes/client-node against a server: `node node_client.mjs MODULES KUBECONFIG [POD]`. Says `ok NAME` for each part; an exception ends it.
// With the name of a Pod that runs, only exec into it.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, kubeconfig, running] = process.argv.slice(2);
const k8s = await import(pathToFileURL(createRequire(`${modules}/x.js`).resolve('@kubernetes/client-node')));
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = 'default';
const DEADLINE_MS = 60000;

const pod = (name, labels) => ({ metadata: { name, labels }, spec: { containers: [{ name: 'c', image: 'i' }] } });

async function eventually(what, condition) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function refused(code, text, promise) {
  await assert.rejects(promise, (e) => {
    assert.equal(e.code, code);
    assert.match(e.body, text);
    return true;
  });
}

const parts = {
  async objects() {
    const made = await core.createNamespacedPod({ namespace, body: pod('typed', { app: 'x' }) });
    assert.equal(made.status.phase, 'Pending');
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    await refused(409, /AlreadyExists/, core.createNamespacedPod({ namespace, body: pod('typed') }));
    await refused(404, /pods \\?"missing\\?" not found/, core.readNamespacedPod({ namespace, name: 'missing' }));
    await refused(422, /metadata.name/, core.createNamespacedPod({ namespace, body: pod('Not_A_Name') }));
    const listed = await core.listNamespacedPod({ namespace, labelSelector: 'app=x' });
    assert.deepEqual(listed.items.map((p) => p.metadata.name), ['typed']);
    const read = await core.readNamespacedPod({ namespace, name: 'typed' });
    read.metadata.labels.more = 'y';
    assert.equal((await core.replaceNamespacedPod({ namespace, name: 'typed', body: read })).metadata.labels.more, 'y');
    await refused(409, /object has been modified/, core.replaceNamespacedPod({ namespace, name: 'typed', body: read }));
    await core.deleteNamespacedPod({ namespace, name: 'typed', gracePeriodSeconds: 0 });
  },

  async patches() {
    const body = { metadata: { name: 'd' }, spec: { selector: { matchLabels: { a: 'd' } }, template: { metadata: { labels: { a: 'd' } }, spec: { containers: [{ name: 'c', image: 'i' }, { name: 'e', image: 'i' }] } } } };
    await apps.createNamespacedDeployment({ namespace, body });
    const patch = (body, strategy, more) => apps.patchNamespacedDeployment({ namespace, name: 'd', body, ...more }, k8s.setHeaderOptions('Content-Type', strategy));
    const images = (d) => d.spec.template.spec.containers.map((c) => `${c.name}=${c.image}`).join();
    const { PatchStrategy } = k8s;
    assert.equal(images(await patch([{ op: 'replace', path: '/spec/template/spec/containers/0/image', value: 'json' }], PatchStrategy.JsonPatch)), 'c=json,e=i');
    assert.equal(images(await patch({ spec: { template: { spec: { containers: [{ name: 'e', image: 'strategic' }] } } } }, PatchStrategy.StrategicMergePatch)), 'c=json,e=strategic');
    assert.equal(images(await patch({ spec: { template: { spec: { containers: [{ name: 'c', image: 'merge' }] } } } }, PatchStrategy.MergePatch)), 'c=merge');
    const applied = await patch({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec: { replicas: 3 } }, PatchStrategy.ServerSideApply, { fieldManager: 'node', force: true });
    assert.equal(applied.spec.replicas, 3);
    assert.ok(applied.metadata.managedFields.some((m) => m.manager === 'node' && m.operation === 'Apply'));
    const scale = await apps.patchNamespacedDeploymentScale({ namespace, name: 'd', body: [{ op: 'replace', path: '/spec/replicas', value: 2 }] }, k8s.setHeaderOptions('Content-Type', PatchStrategy.JsonPatch));
    assert.equal(scale.spec.replicas, 2);
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const gone = await objects.delete({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd', namespace } });
    assert.equal(gone.status, 'Success');
  },

  async watch() {
    const seen = [];
    let ended;
    const done = new Promise((resolve) => { ended = resolve; });
    const since = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
    const request = await new k8s.Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion: since, fieldSelector: 'metadata.name=w' }, (type, object) => {
      seen.push(`${type} ${object.data?.n}`);
      if (type === 'DELETED') ended();
    }, (e) => ended(e));
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'w' }, data: { n: '0' } } });
    await core.patchNamespacedConfigMap({ namespace, name: 'w', body: { data: { n: '1' } } }, k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
    await core.deleteNamespacedConfigMap({ namespace, name: 'w' });
    await done;
    request.abort();
    assert.deepEqual(seen, ['ADDED 0', 'MODIFIED 1', 'DELETED 1']);
  },

  async informer() {
    const has = new Map();
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, () => core.listNamespacedPod({ namespace }));
    for (const verb of ['add', 'update']) informer.on(verb, (p) => has.set(p.metadata.name, p));
    informer.on('delete', (p) => has.delete(p.metadata.name));
    await core.createNamespacedPod({ namespace, body: pod('before') });
    await informer.start();
    await core.createNamespacedPod({ namespace, body: pod('after') });
    await eventually('both Pods', () => has.has('before') && has.has('after'));
    await core.patchNamespacedPod({ namespace, name: 'before', body: { metadata: { labels: { n: '1' } } } }, k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.StrategicMergePatch));
    await eventually('the label', () => has.get('before').metadata.labels?.n === '1');
    await core.deleteNamespacedPod({ namespace, name: 'after', gracePeriodSeconds: 0 });
    await eventually('the deletion', () => !has.has('after'));
    assert.equal(informer.get('before', namespace).metadata.labels.n, '1');
    await informer.stop();
    await core.deleteNamespacedPod({ namespace, name: 'before', gracePeriodSeconds: 0 });
  },
};

async function execute() {
  const run = (command, input) => new Promise((resolve, reject) => {
    const out = new PassThrough(), err = new PassThrough(), got = { out: '', err: '' };
    out.on('data', (d) => { got.out += d; });
    err.on('data', (d) => { got.err += d; });
    new k8s.Exec(config).exec(namespace, running, 'c', command, out, err, input ?? null, false, (status) => resolve({ ...got, status })).catch(reject);
  });
  const told = await run(['sh', '-c', 'echo right; echo wrong >&2']);
  assert.deepEqual([told.out, told.err, told.status.status], ['right\n', 'wrong\n', 'Success']);
  const failed = await run(['sh', '-c', 'exit 3']);
  assert.equal(failed.status.reason, 'NonZeroExitCode');
  assert.equal(failed.status.details.causes[0].message, '3');
  const input = new PassThrough();
  input.write('typed\n');
  const typed = await run(['sh', '-c', 'read line; echo got $line'], input);
  assert.equal(typed.out, 'got typed\n');
}

for (const [name, run] of Object.entries(running ? { execute } : parts)) {
  await run();
  console.log('ok', name);
}
process.exit(0);
