"""Forecasts and anomalies on series whose truth is known.

    python -m benchmarks.analytics [forecasts] [anomalies] [--series 300] [--weeks 200] [--spikes 200] [--seed 1]

Forecasts rest on 90 simulated days, beside a naive one that repeats the last week. Anomalies are looked for in weeks
that have none, and in hours or days that have one.
"""

from __future__ import annotations

import argparse
from collections import Counter

from benchmarks.analytics.anomalies import INJECTED, Traffic, clean_week, injected
from benchmarks.analytics.forecasts import KINDS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["forecasts", "anomalies"])
    parser.add_argument("--series", type=int, default=300, help="simulated series of each kind and horizon")
    parser.add_argument("--weeks", type=int, default=200, help="clean weeks")
    parser.add_argument("--spikes", type=int, default=200, help="injections of each kind")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if "forecasts" in given.parts:
        forecasts(given.series, given.seed)
    if "anomalies" in given.parts:
        anomalies(given.weeks, given.spikes, given.seed)


def forecasts(series: int, seed: int) -> None:
    """Coverage, width and error of both."""
    print("| series | days | covered | ± width | error | naive covered | naive ± width | naive error |")
    print("|---|---|---|---|---|---|---|---|")
    covered = []
    for horizon in (7, 30):
        for kind in KINDS:
            found = run(kind, horizon, series, seed)
            covered.append(found.covered)
            cells = " | ".join(f"{100 * each:.1f} %" for each in found[2:])
            print(f"| {kind} | {horizon} | {cells} |", flush=True)
    print(f"\nall together: {100 * sum(covered) / len(covered):.1f} % covered, of {len(covered) * series} forecasts\n")


def anomalies(weeks: int, spikes: int, seed: int) -> None:
    """Found and false alarms, by rule."""
    traffic = Traffic()
    alarmed: Counter[str] = Counter()
    for week in range(weeks):
        alarmed.update(clean_week(seed * 10_000 + week, traffic).keys())
    print(f"| rule | found of {spikes} | weeks with a false alarm of {weeks} |\n|---|---|---|")
    for kind in INJECTED:
        found = sum(injected(kind, seed * 10_000 + each, traffic) is not None for each in range(spikes))
        print(f"| {kind} | {found} | {alarmed[kind]} |", flush=True)


if __name__ == "__main__":
    main()
