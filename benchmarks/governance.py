"""CPU per request of what lets people in and holds them to limits, against the same request with `auth: open`.

    python -m benchmarks.governance [--requests 3000] [--rounds 4]

Every case answers the same questions from the exact cache in memory, with counters in the process. They take turns in
one run: everybody let in and nothing asked; a key; a key with rate, quota and budget; the policies of asahi-guard
besides; and an entry of the audit log for each request. Each org has a policy of its own and a budget that binds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.hot_path import body, configuration, cpu, load, started

BOOT = "a-bootstrap-key-0123456789abcdef"
LIMITS = ["rate", "quota", "budget"]
GUARDS = ["models", "rate", "quota", "compliance", "pii", "injection", "budget"]
CASES: dict[str, list[str] | None] = {
    "open": None,
    "key": [],
    "key, limits": LIMITS,
    "key, limits, guards": GUARDS,
    "all, each audited": GUARDS,
}
POLICY = {"blocked_models": ["model-e"], "max_requests_per_day": 100_000_000, "max_requests_per_minute": 100_000_000}
BUDGET = {"level": "org", "window": "day", "limit": 1_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000, help="requests per case and round")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(started("-m", "asahi_kernel.testing.fakeup"))[1]
        cases = {}
        for name, policies in CASES.items():
            tree = configuration(f"{upstream}/v1") | {"storage": "memory", "encryption": {"dir": str(folder / "keys")}}
            if policies is not None:
                tree |= {"auth": "keys", "governance": {"policies": policies}}
                tree |= {"api": {"rate_limit_per_minute": 100_000_000}}
            path = folder / f"{len(cases)}.yaml"
            path.write_text(json.dumps(tree))
            command = ("-m", "asahi_kernel.cli", "serve", "--config", str(path), "--port", "0")
            process, url = stack.enter_context(started(*command, ASAHI_BOOTSTRAP_ADMIN_KEY=BOOT))
            cases[name] = process, url, "" if policies is None else settle(url, audited="audited" in name)
        report(measure(cases, arguments.requests, arguments.rounds))


def settle(url: str, *, audited: bool) -> str:
    """An org with a policy and a budget, and a key of its own."""
    ask(url, "/governance/policies/default", POLICY | {"require_audit_log": audited})
    ask(url, "/governance/budgets", BUDGET)
    order = {"user_id": "ann", "scopes": ["infer"]}
    return str(ask(url, "/governance/api-keys", order)["api_key"])


def ask(url: str, path: str, order: dict[str, object]) -> dict[str, object]:
    headers = {"authorization": f"Bearer {BOOT}", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(order).encode(), headers)) as answer:
        return json.loads(answer.read())  # type: ignore[no-any-return]


def measure(cases: dict[str, tuple[int, str, str]], requests: int, rounds: int) -> dict[str, list[float]]:
    """CPU µs per request of each case and round. The first round fills the caches and is not counted."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    bodies = [body(number % 100) for number in range(requests)]
    for turn in range(rounds + 1):
        for name, (process, url, key) in cases.items():
            before = cpu(process)
            asyncio.run(load(url, bodies, key))
            if turn:
                costs[name].append((cpu(process) - before) / requests * 1e6)
    return costs


def report(costs: dict[str, list[float]]) -> None:
    bare = statistics.median(costs["open"])
    print(f"{'case':<24}{'CPU µs, median':>16}{'spread':>16}{'on top of open':>18}{'ratio':>8}")
    for name, values in costs.items():
        middle = statistics.median(values)
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{name:<24}{middle:>16.0f}{spread:>16}{middle - bare:>18.0f}{middle / bare:>8.2f}")


if __name__ == "__main__":
    main()
