"""Discovery against upstream's list of resources; the table in docs/status.md is made from it (UPDATE=1 writes it anew)."""
import json, os, re
from harness import SHARED, TOP, Server, Skip

BEGIN, END = '<!-- resources: made by tests/integration/test_resources.py -->', '<!-- end of resources -->'


def facts():
    """{(group/version, resource): (verbs, off by default)}"""
    file = SHARED / 'facts' / 'resources.txt'
    if not file.is_file(): raise Skip('the list of resources (../shared/facts) is not on this machine')
    rows = {}
    for line in file.read_text().splitlines():
        if not line or line.startswith('#'): continue
        parts = line.split()
        verbs = next(p for p in parts if p.startswith('verbs='))[6:]
        rows[parts[0], parts[1]] = set(verbs.split(',')), 'off-by-default' in line
    return rows


def discovered(s):
    def get(path): return json.loads(s.kubectl('get', '--raw', path).stdout)
    rows = {}
    versions = ['v1'] + [v['groupVersion'] for g in get('/apis')['groups'] for v in g['versions']]
    for gv in versions:
        for r in get(f'/apis/{gv}' if '/' in gv else f'/api/{gv}')['resources']: rows[gv, r['name']] = set(r['verbs'])
    return rows


def table(rows, found):
    lines = ['| group/version | resources | subresources | served | verbs missing |', '|---|---|---|---|---|']
    for gv in dict.fromkeys(gv for gv, _ in rows):
        mine = {r: v for (g, r), v in rows.items() if g == gv}
        off = {o for _, o in mine.values()}
        missing = [f'{r}: {",".join(sorted(v - found.get((gv, r), set())))}' for r, (v, _) in mine.items() if v - found.get((gv, r), set())]
        subs = sum('/' in r for r in mine)
        served = 'always' if off == {False} else 'by `--runtime-config`' if off == {True} else 'in part by `--runtime-config`'
        lines.append(f'| {gv} | {len(mine) - subs} | {subs} | {served} | {"; ".join(missing) or "none"} |')
    return '\n'.join(lines)


def test_every_resource_of_upstream_is_served_with_every_verb():
    rows = facts()
    s = Server(binary='build/ckube')
    try: found = discovered(s)
    finally: s.remove()
    for key, (verbs, off) in rows.items():
        if off: assert key not in found, f'{key} is off by default'
        else: assert found.get(key) == verbs, f'{key}: {found.get(key)}, not {verbs}'
    s = Server(binary='build/ckube', flags=('--runtime-config', 'api/all=true'))
    try: found = discovered(s)
    finally: s.remove()
    for key, (verbs, _) in rows.items(): assert found.get(key) == verbs, f'{key}: {found.get(key)}, not {verbs}'
    status = TOP / 'docs' / 'status.md'
    text, want = status.read_text(), f'{BEGIN}\n{table(rows, found)}\n{END}'
    have = re.search(re.escape(BEGIN) + '.*?' + re.escape(END), text, re.S)
    if os.environ.get('UPDATE'): status.write_text(text.replace(have[0], want))
    else: assert have[0] == want, 'the table in docs/status.md is old: UPDATE=1 tests/run integration -k resources'
