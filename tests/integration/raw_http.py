"""HTTP/1.1 as bytes on TLS: many requests down one connection without waiting, and requests that no library would send. The server's certificate is not looked at."""
import json, socket, ssl, threading


def connect(port, cert=None, alpn=None):
    """cert: the path of NAME.crt and NAME.key without the ending."""
    tls = ssl._create_unverified_context()
    if cert: tls.load_cert_chain(f'{cert}.crt', f'{cert}.key')
    if alpn: tls.set_alpn_protocols(alpn)
    return tls.wrap_socket(socket.create_connection(('127.0.0.1', port), timeout=60))


def request(method, path, headers=(), body=b''):
    """The bytes of a request; headers: pairs, sent as they are."""
    lines = [f'{method} {path} HTTP/1.1', 'Host: localhost', *(f'{k}: {v}' for k, v in headers)]
    if body: lines += ['Content-Type: application/json', f'Content-Length: {len(body)}']
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body


def post(path, document, headers=()):
    return request('POST', path, headers, json.dumps(document).encode())


def read_answer(f):
    """(code, body) of the next answer; (0, what came) when there is none."""
    line = f.readline()
    if not line.startswith(b'HTTP/1.'): return 0, line
    length, chunked = 0, False
    while True:
        head = f.readline()
        if head in (b'\r\n', b''): break
        name, _, value = head.partition(b':')
        if name.lower() == b'content-length': length = int(value)
        chunked |= name.lower() == b'transfer-encoding' and b'chunked' in value
    if not chunked: return int(line.split()[1]), f.read(length)
    body = b''
    while True:
        size = int(f.readline().split(b';')[0], 16)
        body += f.read(size)
        f.readline()
        if not size: return int(line.split()[1]), body


def send_all(port, requests, cert=None, connections=4, at_once=64):
    """The answers to all requests, in their order: a few connections, each with several requests on their way."""
    answers, failures = [None] * len(requests), []

    def run(mine):
        try:
            with connect(port, cert) as c, c.makefile('rb') as f:
                for i in range(0, len(mine), at_once):
                    part = mine[i:i + at_once]
                    c.sendall(b''.join(requests[n] for n in part))
                    for n in part: answers[n] = read_answer(f)
        except Exception as e: failures.append(e)

    threads = [threading.Thread(target=run, args=(range(i, len(requests), connections),)) for i in range(connections)]
    for t in threads: t.start()
    for t in threads: t.join()
    if failures: raise failures[0]
    return answers
