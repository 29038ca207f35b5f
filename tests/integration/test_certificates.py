"""Certificates of a running server: listed, checked, rotated and renewed without a restart; clients with old and new ones go on."""
import os, pathlib, subprocess, time
from fixtures import fetch, openssl
from harness import TOP, Server, contains, same

server = None


def s():
    global server
    if not server: server = Server(command='server', flags=['--disable-agent'])
    return server


def teardown():
    if server:
        server.stop()
        server.remove()


def certificate(*args):
    return subprocess.run([str(TOP / s().binary), 'certificate', *args, '--data-dir', s().dir], capture_output=True, text=True, timeout=60)


def served():
    """The certificate that new connections get."""
    hello = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{s().port}'], input='', capture_output=True, text=True, timeout=30).stdout
    return hello[hello.index('-----BEGIN CERTIFICATE'):hello.index('-----END CERTIFICATE')]


def until(test, what, seconds=30):
    deadline = time.time() + seconds
    while not test():
        assert time.time() < deadline, f'waited {seconds} s for {what}: {s().log_text()}'
        time.sleep(0.1)


def on_disk(): return pathlib.Path(s().dir, 'tls/apiserver.crt').read_text().rsplit('-----END', 1)[0]


def test_they_are_listed_and_checked():
    listed = certificate('list').stdout
    for name in 'server-ca', 'client-ca', 'request-header-ca', 'apiserver', 'admin', 'apiserver-kubelet-client', 'front-proxy-client':
        contains(listed, f'\n{name} ')
        same(oct(os.stat(f'{s().dir}/tls/{name}.key').st_mode & 0o777), '0o600')
        contains(openssl('x509', '-in', f'{s().dir}/tls/{name}.crt', '-noout', '-text').decode(), 'Public Key Algorithm: id-ecPublicKey')
    contains(listed, 'CN=kubernetes-admin,O=system:masters, CN=ckube-client-ca, -')
    same(certificate('check').returncode, 0)
    same(certificate('check', 'apiserver').stdout.split(), ['apiserver', 'ok'])
    same(certificate('rotate').returncode, 1)
    contains(certificate('rotate', 'client-ca').stderr, 'authorities are not rotated')
    contains(certificate('rotate', 'nothing').stderr, 'there is no certificate named nothing')


def test_a_rotated_certificate_is_served_without_a_restart():
    old, admin = served(), pathlib.Path(s().kubeconfig).read_text()
    same(old, on_disk())
    r = certificate('rotate', '--all')
    same(r.returncode, 0, r.stderr)
    same(certificate('check').returncode, 0)
    until(lambda: served() == on_disk(), 'the new certificate to be served')
    assert served() != old
    assert pathlib.Path(s().kubeconfig).read_text() != admin
    s().kubectl('get', 'namespaces')
    pathlib.Path(s().dir, 'old.kubeconfig').write_text(admin)  # good until it expires
    subprocess.run(['kubectl', '--kubeconfig', f'{s().dir}/old.kubeconfig', 'get', 'namespaces'], check=True, capture_output=True, timeout=60)


def test_a_certificate_that_is_about_to_expire_is_renewed_meanwhile():
    d = f'{s().dir}/short'
    os.makedirs(d)
    for f in 'index.txt', 'rand': pathlib.Path(d, f).write_text('')
    pathlib.Path(d, 'serial').write_text('01')
    pathlib.Path(d, 'conf').write_text(f'[ca]\ndefault_ca=x\n[x]\ndatabase={d}/index.txt\nserial={d}/serial\nnew_certs_dir={d}\ndefault_md=sha256\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n')
    names = openssl('x509', '-in', f'{s().dir}/tls/apiserver.crt', '-noout', '-ext', 'subjectAltName').decode().split('\n', 1)[1].strip().replace('IP Address:', 'IP:').replace(' ', '')
    openssl('req', '-new', '-key', f'{s().dir}/tls/apiserver.key', '-out', f'{d}/csr', '-subj', '/CN=kube-apiserver', '-addext', f'subjectAltName={names}', '-addext', 'extendedKeyUsage=serverAuth')
    s().stop()
    def at(offset): return time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + offset))
    openssl('ca', '-batch', '-notext', '-config', f'{d}/conf', '-cert', f'{s().dir}/tls/server-ca.crt', '-keyfile', f'{s().dir}/tls/server-ca.key', '-in', f'{d}/csr', '-out', f'{d}/crt',
            '-startdate', at(-90), '-enddate', at(60))
    os.replace(f'{d}/crt', f'{s().dir}/tls/apiserver.crt')
    short = on_disk()
    s().start()  # it is due when a third of its life is left: ten seconds from now (where starting takes longer than that, at the start)
    until(lambda: on_disk() != short and served() == on_disk(), 'the renewed certificate to be served', 60)
    same(certificate('check').returncode, 0)
    contains(certificate('list', 'apiserver').stdout, 'kubernetes.default.svc')
    s().kubectl('get', 'namespaces')
