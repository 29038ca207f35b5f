"""The conversations recorded from upstream, replayed. The floors only rise: they are what agreed when this was written, and less is a regression."""
import re, subprocess, sys
from harness import SHARED, Server, Skip


def replay(pattern):
    cases = sorted((SHARED / 'golden' / 'cases').glob(pattern)) if SHARED.is_dir() else []
    if not cases: raise Skip('the recorded conversations (../shared/golden) are not on this machine')
    s = Server(binary='build/ckube')
    try:
        r = subprocess.run([sys.executable, str(SHARED / 'golden' / 'golden.py'), 'replay', '--kubeconfig', s.kubeconfig, *map(str, cases)], capture_output=True, text=True, timeout=600)
        m = re.search(r'golden: (\d+) of (\d+) steps agree', r.stdout)
        assert m, r.stdout[-500:] + r.stderr[-500:]
        print(f'        {pattern}: {m[1]} of {m[2]} steps agree', flush=True)
        assert s.process.poll() is None, 'the server died: ' + s.log_text()
        return int(m[1]) / int(m[2])
    finally:
        s.remove()


def test_core_conversations_agree():
    share = replay('core-*.json')
    assert share >= 0.98, f'only {share:.1%} agree'


def test_machinery_conversations_agree():
    share = replay('machinery-*.json')
    assert share >= 1, f'only {share:.1%} agree'


def test_discovery_conversations_agree():
    share = replay('machinery-discovery.json')
    assert share >= 1, f'only {share:.1%} agree'


def test_apply_conversations_agree():
    share = replay('machinery-apply.json')
    assert share >= 1.0, f'only {share:.1%} agree'


def test_custom_resource_conversations_agree():
    share = replay('groups-crd.json')
    assert share == 1, f'only {share:.1%} agree'


def test_admission_conversations_agree():
    share = replay('groups-admission.json')  # all but two that saw upstream's cache lag
    assert share >= 183 / 185, f'only {share:.1%} agree'


def test_conversations_of_the_smaller_groups_agree():
    floors = {'networking': 1, 'policy-scaling': 1, 'storage-node-resource': 1, 'cluster': 1, 'rbac': 1}
    for name, floor in floors.items():
        share = replay(f'groups-{name}.json')
        assert share >= floor, f'{name}: only {share:.1%} agree'
