"""Workload controllers as users see them: `ckube server` without a node, and kubectl."""
import time
from harness import Server, contains, same

server = None


def the_server():
    global server
    if not server: server = Server(command='server', flags=['--disable-agent'])
    return server


def until(test, what, seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if test(): return
        time.sleep(0.1)
    raise AssertionError(f'waited {seconds} s for {what}')


def items(*what):
    return the_server().json('get', *what)['items']


def test_a_deployment_is_rolled_out_undone_and_deleted():
    s = the_server()
    s.kubectl('create', 'deployment', 'web', '--image=one', '--replicas=3')
    until(lambda: len(items('pods', '-l', 'app=web')) == 3, 'three Pods')
    s.kubectl('set', 'image', 'deployment/web', 'one=two')
    until(lambda: len(items('replicasets')) == 2, 'a second set')
    history = s.kubectl('rollout', 'history', 'deployment/web').stdout
    contains(history, '1 ')
    contains(history, '2 ')
    s.kubectl('rollout', 'undo', 'deployment/web')
    until(lambda: s.json('get', 'deployment', 'web')['metadata']['annotations']['deployment.kubernetes.io/revision'] == '3', 'revision 3')
    same(len(items('replicasets')), 2, 'the old set serves again')
    contains(s.kubectl('describe', 'deployment', 'web').stdout, 'Scaled up replica set web-')
    s.kubectl('delete', 'deployment', 'web', '--cascade=foreground')
    same((items('replicasets'), items('pods', '-l', 'app=web')), ([], []), 'all is gone when kubectl returns')


def test_a_cron_jobs_job_is_made_by_hand_and_goes_with_it():
    s = the_server()
    s.kubectl('create', 'cronjob', 'night', '--image=one', '--schedule=0 3 1 1 *')
    s.kubectl('create', 'job', 'now', '--from=cronjob/night')
    until(lambda: len(items('pods', '-l', 'batch.kubernetes.io/job-name=now')) == 1, 'its Pod')
    same(s.json('get', 'job', 'now')['status']['active'], 1, 'active')
    s.kubectl('delete', 'cronjob', 'night')
    until(lambda: not items('jobs') and not items('pods'), 'the Job and its Pod to go')
