"""Custom resources from their definition to their end, with every kubectl of this machine."""
import json, time
from harness import Server, contains, kubectls, same

DEFINITION = '''
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'}
              image: {type: string}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 3}
          status: {type: object, properties: {replicas: {type: integer}, conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
'''
OBJECT = '''
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: a}
spec: {cronSpec: "* * * * */5", image: x}
'''


def define(s):
    s.kubectl('apply', '-f', '-', stdin=DEFINITION)
    s.kubectl('wait', '--for=condition=Established', 'crd/crontabs.stable.example.com', '--timeout=10s')


def test_life_of_a_custom_resource():
    s = Server()
    try:
        define(s)
        contains(s.kubectl('api-resources').stdout, 'crontabs')
        for k in kubectls():
            s.kubectl('apply', '-f', '-', stdin=OBJECT, kubectl=k)
            same(s.json('get', 'ct', 'a', kubectl=k)['spec'], {'cronSpec': '* * * * */5', 'image': 'x', 'replicas': 3})
            contains(s.kubectl('get', 'ct', kubectl=k).stdout, 'READY')
            assert s.kubectl('apply', '-f', '-', stdin=OBJECT.replace('image', 'imagge'), kubectl=k, check=False).returncode
            contains(s.kubectl('explain', 'crontabs.spec', kubectl=k).stdout, 'cronSpec')
            s.kubectl('delete', 'ct', 'a', kubectl=k)
        s.kubectl('apply', '-f', '-', stdin=OBJECT)
        s.kubectl('scale', 'ct/a', '--replicas=2')
        s.kubectl('patch', 'ct', 'a', '--subresource=status', '--type=merge', '-p', '{"status":{"conditions":[{"type":"Ready","status":"Yes"}]},"spec":{"image":"y"}}')
        got = s.json('get', 'ct', 'a')
        same((got['spec']['replicas'], got['spec']['image'], got['metadata']['generation']), (2, 'x', 2))
        contains(s.kubectl('get', 'ct').stdout, 'Yes')
        contains(s.kubectl('patch', 'ct', 'a', '--type=merge', '-p', '{"spec":{"cronSpec":"x"}}', check=False).stderr, "spec.cronSpec in body should match")
        contains(s.kubectl('patch', 'ct', 'a', '--type=merge', '-p', '{"spec":{"replicas":11}}', check=False).stderr, 'should be less than or equal to 10')
    finally: s.remove()


def test_survives_a_restart_and_goes_with_its_definition():
    s = Server()
    try:
        define(s)
        s.kubectl('apply', '-f', '-', stdin=OBJECT)
        s.stop()
        s.start()
        same(s.json('get', 'ct', 'a')['spec']['replicas'], 3)
        s.kubectl('patch', 'ct', 'a', '--type=merge', '-p', '{"metadata":{"finalizers":["example.com/hold"]}}')
        s.kubectl('delete', 'crd', 'crontabs.stable.example.com', '--wait=false')
        time.sleep(1)
        assert s.json('get', 'ct', 'a')['metadata']['deletionTimestamp']
        contains(s.kubectl('create', '-f', '-', stdin=OBJECT.replace('name: a', 'name: b'), check=False).stderr, 'terminating')
        s.kubectl('patch', 'ct', 'a', '--type=merge', '-p', '{"metadata":{"finalizers":null}}')
        s.kubectl('wait', '--for=delete', 'crd/crontabs.stable.example.com', '--timeout=10s')
        same(s.kubectl('get', '--raw', '/apis/stable.example.com/v1', check=False).returncode, 1)
    finally: s.remove()


def test_rules_that_could_cost_too_much_are_refused():
    s = Server()
    try:
        def crd(lists, rule='self.all(x, self.all(y, x == y))', n=1):
            rules = {'type': 'array', 'items': {'type': 'string'}, 'x-kubernetes-validations': [{'rule': rule}], **lists}
            d = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'wide.example.org'}, 'spec': {'group': 'example.org', 'scope': 'Namespaced', 'names': {'plural': 'wide', 'kind': 'Wide'},
                 'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {'spec': {'type': 'object', 'properties': {f'l{i}': rules for i in range(n)}}}}}}]}}
            return s.kubectl('apply', '-f', '-', stdin=json.dumps(d), check=False)
        at = 'spec.validation.openAPIV3Schema'
        contains(crd({}).stderr, f'{at}.properties[spec].properties[l0].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)')
        contains(crd({'maxItems': 1000, 'items': {'type': 'string', 'maxLength': 20}}).stderr, 'estimated rule cost exceeds budget by factor of 1.300500x')
        contains(crd({}, 'self.all(x, true)', 40).stderr, f'{at}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.258291x')
        same(crd({'maxItems': 100, 'items': {'type': 'string', 'maxLength': 10}}).returncode, 0)
    finally: s.remove()


def test_names_in_use_are_not_accepted():
    s = Server()
    try:
        define(s)
        other = DEFINITION.replace('name: crontabs.', 'name: others.').replace('plural: crontabs', 'plural: others')
        s.kubectl('apply', '-f', '-', stdin=other)
        def conditions(name): return {c['type']: (c['status'], c['reason']) for c in s.json('get', 'crd', name)['status'].get('conditions') or []}
        deadline = time.time() + 10
        while time.time() < deadline and 'NamesAccepted' not in conditions('others.stable.example.com'): time.sleep(0.1)
        got = conditions('others.stable.example.com')
        same((got['NamesAccepted'][0], got['Established']), ('False', ('False', 'NotAccepted')))
        s.kubectl('delete', 'crd', 'crontabs.stable.example.com')
        s.kubectl('wait', '--for=condition=Established', 'crd/others.stable.example.com', '--timeout=10s')
    finally: s.remove()
