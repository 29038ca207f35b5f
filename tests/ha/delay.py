"""Delays and loses the packets that netfilter queues for it (number 7), in their order, without looking into them: what netem does, where the kernel has none.

    delay.py MILLISECONDS JITTER LOSS_PERCENT      says "ready" when it has the queue"""
import collections, random, socket, struct, sys, time

NETLINK_NETFILTER, QUEUE = 12, 7
PACKET, VERDICT, CONFIG = 0x300, 0x301, 0x302  # the subsystem of queues is 3
DROP, ACCEPT = 0, 1


def attribute(kind, data): return struct.pack('=HH', 4 + len(data), kind) + data + b'\0' * (-len(data) % 4)


def message(kind, payload):
    body = struct.pack('!BBH', socket.AF_UNSPEC, 0, QUEUE) + payload
    return struct.pack('=IHHII', 16 + len(body), kind, 1, 0, 0) + body


def packet_ids(data):
    """Of each queued packet in what one recv brought."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from('=IH', data, at)
        inside, end = at + 20, at + length
        while kind == PACKET and inside + 4 <= end:
            size, what = struct.unpack_from('=HH', data, inside)
            if what & 0x7fff == 1:
                yield struct.unpack_from('!I', data, inside + 4)[0]
                break
            inside += (size + 3) & ~3
        at += (length + 3) & ~3


def main(ms, jitter, loss):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.setsockopt(270, 5, 1)  # SOL_NETLINK, NETLINK_NO_ENOBUFS: what does not fit is lost, as on a line
    s.bind((0, 0))
    s.send(message(CONFIG, attribute(1, struct.pack('!BBH', 1, 0, 0))))            # bind
    s.send(message(CONFIG, attribute(2, struct.pack('!IB', 0, 1))))                # the head of each packet is enough
    s.send(message(CONFIG, attribute(3, struct.pack('!I', 8192))))                 # how many may wait
    s.send(message(CONFIG, attribute(4, struct.pack('!I', 4)) + attribute(5, struct.pack('!I', 4))))  # large segments as they are
    print('ready', flush=True)
    waiting, last = collections.deque(), 0.0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, number, verdict = waiting.popleft()
            s.send(message(VERDICT, attribute(2, struct.pack('!II', verdict, number))))
        s.settimeout(max(waiting[0][0] - now, 0.0002) if waiting else None)
        try: data = s.recv(65536)
        except TimeoutError: continue
        for number in packet_ids(data):
            last = max(last, time.monotonic() + (ms + random.uniform(0, jitter)) / 1000)
            waiting.append((last, number, DROP if random.uniform(0, 100) < loss else ACCEPT))


if __name__ == '__main__': main(*map(float, sys.argv[1:4]))
