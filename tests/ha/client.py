"""One client of one apiserver at a time: HTTPS kept alive. What an answer means for whoever asks whether his write happened."""
import http.client, json, socket, ssl

OK, ABSENT, CONFLICT, EXISTS, EXPIRED, REFUSED, UNKNOWN = 'ok', 'absent', 'conflict', 'exists', 'expired', 'refused', 'unknown'


def tls_context(credentials):
    authority, cert, key = credentials
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(cert, key)
    return context


def outcome_of(code, document):
    """REFUSED: it did not happen for certain. UNKNOWN: it may have, or may yet."""
    if code < 300: return OK
    if code == 404: return ABSENT
    if code == 409: return EXISTS if document.get('reason') == 'AlreadyExists' else CONFLICT
    if code == 410: return EXPIRED
    return UNKNOWN if code >= 500 else REFUSED


class Client:
    def __init__(self, context, address, port, timeout):
        self.context, self.address, self.port, self.timeout, self.connection = context, address, port, timeout, None

    def close(self):
        if self.connection: self.connection.close()
        self.connection = None

    def call(self, method, path, body=None, content_type='application/json'):
        """(outcome, document, what was said). A connection that cannot be made is REFUSED: nothing was sent."""
        if not self.connection:
            c = http.client.HTTPSConnection(self.address, self.port, timeout=self.timeout, context=self.context)
            try: c.connect()
            except OSError as e:
                c.close()
                return REFUSED, {}, f'connect: {e}'
            self.connection = c
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None, {'Content-Type': content_type} if body is not None else {})
            r = self.connection.getresponse()
            data = r.read()
            document = json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as e:
            self.close()
            return UNKNOWN, {}, f'{type(e).__name__}: {e}'
        return outcome_of(r.status, document), document, f'{r.status} {document.get("message", "")}' if r.status >= 300 else ''

    def stream(self, path, idle):
        """Yields each line of a watch until it ends; idle: how long it may be silent, seconds."""
        c = http.client.HTTPSConnection(self.address, self.port, timeout=self.timeout, context=self.context)
        try:
            c.connect()
            c.request('GET', path)
            r = c.getresponse()
            if r.status != 200:
                yield json.dumps({'type': 'ERROR', 'object': json.loads(r.read())})
                return
            if c.sock: c.sock.settimeout(idle)
            while True:
                line = r.readline()
                if not line.endswith(b'\n'): return
                yield line
        except (OSError, http.client.HTTPException, ValueError, socket.timeout): return
        finally: c.close()
