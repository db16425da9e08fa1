"""fakeredis' TCP server as a process: says its port, serves until its standard input is closed.

What it can't do, as far as tests here care: it does not notice that a client left which waits for
a message (BRPOP, up to a second with kombu), so a message that comes then is gone. Therefore fleets
use its numbered databases in turn. It knows no MONITOR (the test that listens by it is skipped), no
TLS, no replicas and no persistence (tests of those start a Redis of their own).
"""

import os
import sys
from threading import Thread

from fakeredis import TcpFakeServer


def _end_with_the_one_that_asked() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    server = TcpFakeServer(("127.0.0.1", 0))
    server.daemon_threads = True
    Thread(target=_end_with_the_one_that_asked, daemon=True).start()
    print(server.server_address[1], flush=True)
    server.serve_forever()
