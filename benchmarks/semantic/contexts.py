"""Whether a line of context before each text, by the template, serves more at the same bound.

    python -m benchmarks.semantic.contexts [--length 5000]

The streams of the other figures, by the papers' definition of the bound, each with and without the line. In `mixed` the
two sources take turns as two tasks, so that the lines differ; elsewhere all lines are one.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from asahi_semantic.controller import wilson
from benchmarks.semantic.__main__ import PUBLISHED
from benchmarks.semantic.driving import Outcome, Run
from benchmarks.semantic.truth import Question, intents, stream

BOUNDS = (0.01, 0.02, 0.05)
TASKS = ("faq", "classification")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=5_000)
    length = parser.parse_args().length
    banking, clinc = (intents(name) for name in ("banking77", "clinc150"))
    print("| stream | order | δ | hits without | wrong ÷ requests | hits with the line | wrong ÷ requests |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for order in (0, 1):
        one, other = stream(banking, length, order), stream(clinc, length, order)
        mixed = [each for pair in zip(one[: length // 2], other[: length // 2], strict=False) for each in pair]
        streams = ("banking77", one, TASKS[:1]), ("clinc150", other, TASKS[:1]), ("mixed", mixed, TASKS)
        for name, questions, tasks in streams:
            for bound in BOUNDS:
                cells = []
                for kind in ("off", "template"):
                    told = asyncio.run(drive(questions, tasks, order, bound, kind))
                    low, _ = wilson(told.wrong, told.requests)
                    broken = " BROKEN" if low > bound else ""
                    cells.append(f"{told.hits / told.requests:.1%} | {told.wrong / told.requests:.2%}{broken}")
                print(f"| {name} | {order} | {bound:.0%} | {' | '.join(cells)} |", flush=True)


async def drive(questions: Sequence[Question], tasks: Sequence[str], order: int, bound: float, kind: str) -> Outcome:
    """A fresh tier over a stream whose questions are of the tasks in turn."""
    options = {**PUBLISHED, "thresholds": dict.fromkeys(TASKS, 0.0), "max_error_rate": bound, "context": kind}
    runner = Run(order, **options)
    for number, question in enumerate(questions):
        runner.task = tasks[number % len(tasks)]
        await runner.ask(question)
    runner.close()
    return runner.outcome


if __name__ == "__main__":
    main()
