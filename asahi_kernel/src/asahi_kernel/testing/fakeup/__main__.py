"""Runs the fake upstream as a process, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from asahi_kernel.testing.fakeup.hosts import HOSTS
from asahi_kernel.testing.fakeup.ledger import read_price
from asahi_kernel.testing.fakeup.script import parse
from asahi_kernel.testing.fakeup.upstream import running


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fakeup", description="A scripted vendor with its own ledger.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path, help="append one JSON line per call to this file")
    parser.add_argument("--bodies", type=Path, help="append each request to this file, word for word")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="before the first byte")
    parser.add_argument("--tokens-per-s", type=float, default=0.0, help="pace of a stream; 0 is at once")
    parser.add_argument(
        "--price", action="append", default=[], help="MODEL=IN,OUT(,CACHED(,WRITTEN)) in dollars per million"
    )
    parser.add_argument("--fault", default="", help="script for every request, such as 'status=503'")
    parser.add_argument("--key", action="append", default=[], help="a credential to accept; without any, all are")
    parser.add_argument("--host", default="", choices=["", *HOSTS], help="speak OpenAI's wire as this host does")
    return parser.parse_args()


async def serve(arguments: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM."""
    parse(arguments.fault.split())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with running(
        prices=dict(read_price(text) for text in arguments.price),
        ledger=arguments.ledger,
        bodies=arguments.bodies,
        fault=arguments.fault,
        latency_s=arguments.latency_ms / 1000,
        pace_s=1 / arguments.tokens_per_s if arguments.tokens_per_s else 0.0,
        keys=arguments.key,
        host=arguments.host,
        port=arguments.port,
    ) as upstream:
        print(f"listening on {upstream.url}", flush=True)
        await stopped.wait()


def main() -> None:
    """Runs on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(read_arguments()))
    else:
        uvloop.run(serve(read_arguments()))


if __name__ == "__main__":
    main()
