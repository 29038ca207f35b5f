#!/usr/bin/env python3
"""The specification of acting.py. Run by tests/run."""
import json, unittest
from acting import Act, Hold, acts_of_log, check, machine_of, seconds, takeover, without_echoes

HOLDS = {'scheduler': [Hold(10, 's1'), Hold(20, 's1'), Hold(30, ''), Hold(35, 's2')]}


def line(user='system:kube-scheduler', verb='create', resource='pods', subresource=None, name='p', revision=40, code=201, source='127.0.0.1', **more):
    e = {'verb': verb, 'user': {'username': user}, 'objectRef': {'resource': resource, 'namespace': 'n', 'name': name}, 'responseStatus': {'code': code}, 'sourceIPs': [source],
         'requestReceivedTimestamp': '2026-01-01T00:00:01.500000Z', 'responseObject': {'metadata': {'resourceVersion': str(revision)}}, **more}
    if subresource: e['objectRef']['subresource'] = subresource
    return json.dumps(e)


def acts(*lines, bound=None): return acts_of_log(lines, 's1', {'10.0.0.2': 's2'}, bound or {})


class Log(unittest.TestCase):
    def test_who_and_at_which_revision(self):
        self.assertEqual([(a.role, a.machine, a.revision) for a in acts(line(), line(source='10.0.0.2', revision=41), line('system:serviceaccount:kube-system:job-controller'))],
                         [('scheduler', 's1', 40), ('scheduler', 's2', 41), ('controller-manager', 's1', 40)])

    def test_what_is_no_act(self):
        same = line(verb='update', requestObject={'metadata': {'resourceVersion': '40'}})
        self.assertEqual(acts(line(verb='get'), line(code=409), line('admin'), line(resource='leases'), line(resource='events'), same, line()[:50], line(subresource='token')), [])

    def test_a_binding_has_its_revision_from_the_watch(self):
        binding = line(subresource='binding', responseObject={'kind': 'Status'}, requestObject={'target': {'name': 'n1'}})
        self.assertEqual([a.revision for a in acts(binding, bound={('n', 'p'): {'n1': 77}})], [77])
        self.assertEqual(acts(binding, bound={('n', 'p'): {'n2': 77}}), [])

    def test_times_and_names(self):
        self.assertEqual(seconds('1970-01-01T00:00:01.250000Z'), 1.25)
        self.assertEqual(machine_of('s2_0f0f'), 's2')


class Check(unittest.TestCase):
    def found(self, *acts): return [k for k, _ in check(list(acts), HOLDS)]

    def test_the_holder_may(self):
        self.assertEqual(self.found(Act('scheduler', 's1', 11, '', 0), Act('scheduler', 's1', 29, '', 0), Act('scheduler', 's2', 36, '', 0)), [])

    def test_others_may_not(self):
        self.assertEqual(self.found(Act('scheduler', 's2', 11, '', 0)), ['two act'])
        self.assertEqual(self.found(Act('scheduler', 's1', 36, '', 0)), ['two act'])

    def test_nobody_may_before_and_between(self):
        self.assertEqual(self.found(Act('scheduler', 's1', 9, '', 0), Act('scheduler', 's1', 31, '', 0), Act('controller-manager', 's1', 31, '', 0)), ['two act'] * 3)

    def test_how_long_a_takeover_took(self):
        self.assertEqual(takeover([Hold(1, 's1', 5), Hold(2, 's1', 7), Hold(3, 's2', 11), Hold(4, '', 12), Hold(5, 's2', 13)]), 4)

    def test_answers_with_the_revision_of_anothers_write_are_no_acts(self):
        first, echo, late = Act('scheduler', 's1', 11, '', 1), Act('scheduler', 's2', 11, '', 2), Act('scheduler', 's2', 12, '', 9)
        self.assertEqual(without_echoes([echo, late, first], {12: 5}), [first])


if __name__ == '__main__': unittest.main(verbosity=0)
