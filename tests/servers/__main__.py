"""`python -m tests.servers postgres` (or `redis`, or both): prints the URLs, and stays up until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from tests.servers import postgres, valkey

STARTS = {"postgres": postgres.start, "redis": valkey.start}


def main(names: list[str]) -> None:
    if not names or set(names) - set(STARTS):
        sys.exit("usage: python -m tests.servers [postgres] [redis]")
    servers = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for name in names:
            servers.append(STARTS[name]())
            print(f"{name} {servers[-1].url}", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
