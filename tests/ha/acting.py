"""Who acted as scheduler and as controller-manager: at no moment two.

Each server's audit log tells who wrote what (its address, else the server's own components) and which revision came of it; a watch of the Leases tells who held
which one from which revision on. The database's order is what counts: a write at a revision at which another held the Lease was one too many, whatever the clocks say.
A write without a revision in its answer (a binding) gets it from the watch of Pods. Lines that a killed server did not write are missing: what is reported is true, not
all of it may be reported."""
import bisect, collections, dataclasses, datetime, json

LEASES = {'scheduler': 'kube-scheduler', 'controller-manager': 'kube-controller-manager'}


@dataclasses.dataclass
class Act:
    role: str          # scheduler or controller-manager
    machine: str       # whose component
    revision: int
    what: str
    received: float    # seconds since 1970, of the audit log


@dataclasses.dataclass
class Hold:
    revision: int
    holder: str        # a machine's name; '': nobody
    time: float = 0


def role_of(user):
    if user == 'system:kube-scheduler': return 'scheduler'
    if user == 'system:kube-controller-manager' or user.startswith('system:serviceaccount:kube-system:'): return 'controller-manager'
    return None


def machine_of(identity): return identity.split('_')[0]


def seconds(timestamp): return datetime.datetime.fromisoformat(timestamp.replace('Z', '+00:00')).timestamp()


def acts_of_log(lines, server, by_address, bound):
    """bound: (namespace, name) of a Pod -> {node: revision at which the watch saw it bound}. Lines that were cut short by a kill are skipped."""
    acts = []
    for line in lines:
        try: e = json.loads(line)
        except ValueError: continue
        role, ref = role_of(e.get('user', {}).get('username', '')), e.get('objectRef') or {}
        if not role or e.get('verb') not in ('create', 'update', 'patch') or e.get('responseStatus', {}).get('code', 500) >= 300: continue
        if ref.get('resource') in ('leases', 'leasecandidates', 'tokenreviews', 'subjectaccessreviews', 'events') or ref.get('subresource') == 'token': continue
        answer, asked = e.get('responseObject') or {}, e.get('requestObject') or {}
        where = (ref.get('namespace', ''), ref.get('name') or answer.get('metadata', {}).get('name', ''))
        if ref.get('subresource') == 'binding': revision = bound.get(where, {}).get(asked.get('target', {}).get('name'), 0)
        else: revision = int(answer.get('metadata', {}).get('resourceVersion') or 0)
        if not revision or revision == int(asked.get('metadata', {}).get('resourceVersion') or 0): continue  # not known, or nothing was changed
        source = next((by_address[a] for a in e.get('sourceIPs') or [] if a in by_address), server)
        acts.append(Act(role, source, revision, f'{e["verb"]} {ref.get("resource")}/{ref.get("subresource", "")} {where[0]}/{where[1]}', seconds(e['requestReceivedTimestamp'])))
    return acts


def without_echoes(acts, seen):
    """Without those that changed nothing and were answered with the revision of another's write: one that was received when a watch had already seen its revision, and all but
    the first of one revision. seen: revision -> when a watch first saw it, in the log's time."""
    first = {}
    for a in sorted(acts, key=lambda a: a.received):
        if a.received <= seen.get(a.revision, float('inf')): first.setdefault((a.role, a.revision), a)
    return list(first.values())


def check(acts, holds):
    """holds: role -> Holds in the order of revisions. Returns violations as the checker does."""
    violations = []
    for a in acts:
        h = holds.get(a.role, [])
        i = bisect.bisect_left(h, a.revision, key=lambda x: x.revision)
        holder = h[i - 1].holder if i else ''
        if holder != a.machine: violations.append(('two act', f'{a.role} of {a.machine} wrote {a.what} at revision {a.revision}, when {holder or "nobody"} held its Lease (since {h[i - 1].revision if i else 0})'))
    return violations


def takeover(holds):
    """The longest time from the last sign of one holder to the first of the next, seconds; 0 when there was but one."""
    return max((b.time - a.time for a, b in zip(holds, holds[1:]) if b.holder and a.holder != b.holder), default=0.0)


def summary(acts, holds):
    counts = collections.Counter((a.role, a.machine) for a in acts)
    for role in LEASES:
        h = holds.get(role, [])
        terms = sum(1 for a, b in zip([None, *h], h) if b.holder and (a is None or a.holder != b.holder))
        yield f'{role}: {terms} terms, taken over within {takeover(h):.1f} s, writes by ' + (', '.join(f'{m} {n}' for (r, m), n in sorted(counts.items()) if r == role) or 'nobody')
