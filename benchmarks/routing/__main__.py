"""Quality kept against strong calls on graded answers: random, the difficulty `rules-1` as a router, and the oracle.

    python -m benchmarks.routing [--sweep]

Mixtral-8x7B is the weak model, GPT-4 (1106) the strong one. Nothing is fitted, and only the half of the rows that is
kept for judging is looked at. The interval of 95 % is by bootstrap over the rows.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence

from asahi_kernel.money import count_input
from asahi_kernel.types import Message, Request
from asahi_optimizer.difficulty import HARD, MEDIUM, PREDICTOR, find
from benchmarks.routing.answers import Graded, held_out
from benchmarks.routing.curve import curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true", help="also the threshold of the difficulty, step by step")
    arguments = parser.parse_args()
    print("| benchmark | rows | weak | strong | router | APGR | 95 % | CPT50 | CPT80 | share for 95 % |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    benchmarks = held_out()
    for name, rows in benchmarks.items():
        for router, score in ROUTERS.items():
            print(line(name, rows, router, [score(row) for row in rows]))
    if arguments.sweep:
        print(f"\n| benchmark | {PREDICTOR} from | strong share | quality |\n|---|---|---|---|")
        for name, rows in benchmarks.items():
            sweep(name, rows)


def difficulty(row: Graded) -> float:
    """The score that `rules-1` gives the question."""
    request = Request(messages=(Message("user", row.prompt),))
    return find(request, count_input(request)).score


def oracle(row: Graded) -> float:
    """What nobody can know: where the strong model helps, and where it harms."""
    return row.strong_correct - row.weak_correct


ROUTERS: dict[str, Callable[[Graded], float]] = {"random": lambda row: 0.0, PREDICTOR: difficulty, "oracle": oracle}


def line(name: str, rows: Sequence[Graded], router: str, scores: Sequence[float]) -> str:
    """One row of the table."""
    found = curve(rows, scores)
    weak, strong = found.points[0].quality, found.points[-1].quality
    low, high = interval(rows, scores)
    return (
        f"| {name} | {len(rows)} | {weak:.1%} | {strong:.1%} | {router} | {found.area():.3f} | {low:.3f}-{high:.3f} | "
        f"{found.threshold(50):.1%} | {found.threshold(80):.1%} | {found.keeping(0.95):.1%} |"
    )


def interval(rows: Sequence[Graded], scores: Sequence[float], rounds: int = 300) -> tuple[float, float]:
    """Where APGR lies in 95 % of samples drawn from these rows."""
    dice = random.Random(1)
    areas = []
    for _ in range(rounds):
        drawn = dice.choices(range(len(rows)), k=len(rows))
        areas.append(curve([rows[each] for each in drawn], [scores[each] for each in drawn]).area())
    areas.sort()
    return areas[round(0.025 * rounds)], areas[round(0.975 * rounds) - 1]


def sweep(name: str, rows: Sequence[Graded]) -> None:
    """Send everything from a score on to the strong model."""
    scores = [difficulty(row) for row in rows]
    for threshold in sorted({MEDIUM, HARD, *(step / 20 for step in range(3, 15))}):
        strong = [score >= threshold for score in scores]
        right = sum(row.strong_correct if use else row.weak_correct for row, use in zip(rows, strong, strict=True))
        print(f"| {name} | {threshold:.2f} | {sum(strong) / len(rows):.1%} | {right / len(rows):.1%} |")


if __name__ == "__main__":
    main()
