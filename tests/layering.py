#!/usr/bin/env python3
"""The layers of docs/architecture.md, checked: a file includes its own layer and lower ones only, and the apiserver alone includes the store."""
import pathlib, re, sys

ALLOWED = {
    'base': {'base'},
    'wire': {'base', 'wire'},
    'api': {'base', 'wire', 'api'},
    'store': {'base', 'wire', 'store'},
    'apiserver': {'base', 'wire', 'api', 'store', 'apiserver', 'client'},
    'client': {'base', 'wire', 'api', 'client'},
    'controller': {'base', 'wire', 'api', 'client', 'controller'},
    'scheduler': {'base', 'wire', 'api', 'client', 'scheduler'},
    'kubelet': {'base', 'wire', 'api', 'client', 'kubelet'},
    'proxy': {'base', 'wire', 'api', 'client', 'proxy'},
    'cmd': {'base', 'wire', 'api', 'store', 'apiserver', 'client', 'controller', 'scheduler', 'kubelet', 'proxy', 'cmd'},
}
src = pathlib.Path(__file__).resolve().parent.parent / 'src'
wrong = seen = 0
for path in sorted(src.rglob('*.[ch]')):
    layer = path.relative_to(src).parts[0]
    for n, line in enumerate(path.read_text().splitlines(), 1):
        m = re.match(r'#include "([a-z]+)/', line)
        if not m: continue
        seen += 1
        if m[1] in ALLOWED and m[1] not in ALLOWED[layer]:
            print(f'{path.relative_to(src.parent)}:{n}: {layer}/ may not include {m[1]}/')
            wrong += 1
if seen < 100: sys.exit(f'only {seen} includes found: the check is broken')
print(f'{seen} includes, {wrong} against the layers')
sys.exit(1 if wrong else 0)
