"""Everything that is said about the semantic cache, measured by one command.

    python -m benchmarks.semantic [--quora FILE] [--write] [--quick]

`--write` puts the figures into README.md and the drawings beside it. `--quora` names the pairs of zilliztech/GPTCache
(`examples/benchmark`), as JSON lines with text_a, text_b and label: their terms do not allow them to be in here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from asahi_semantic.controller import wilson
from benchmarks.semantic.adversarial import attack
from benchmarks.semantic.drawing import draw
from benchmarks.semantic.driving import Outcome, run
from benchmarks.semantic.embedding import measure
from benchmarks.semantic.hindsight import best, thresholds
from benchmarks.semantic.isolation import isolate
from benchmarks.semantic.judging import judge
from benchmarks.semantic.truth import Question, duplicates, intents, stream

HERE = Path(__file__).parent
BOUNDS = (0.005, 0.01, 0.02, 0.05)
#: By the definition of papers: wrong ÷ requests, and nothing but the error bound between the verifier and the client.
PUBLISHED = {"error_basis": "requests", "mistake_factor": 0, "thresholds": {"faq": 0.0}}
_HEAD = (
    "| stream | order | δ | hits | wrong | wrong ÷ hits | up to (95 %) | rechecks | best static: hits "
    "| static at the same error: hits | kept |"
)
_RULE = "|---|---|---|---|---|---|---|---|---|---|---|"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quora", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true", help="short streams, one order: to see that it runs")
    arguments = parser.parse_args()
    length, orders = (600, 1) if arguments.quick else (5_000, 2)
    sources = {name: intents(name) for name in ("banking77", "clinc150")}
    if arguments.quora is not None:
        sources["qqp"] = duplicates(arguments.quora)
    broken: list[str] = []
    lines: list[str] = []
    for line in report(sources, length, orders, arguments.quora, broken):
        print(line, flush=True)
        lines.append(line)
    if arguments.write:
        write(lines, sources, length)
    for each in broken:
        print(f"BROKEN: {each}", file=sys.stderr)
    return bool(broken)


def report(
    sources: dict[str, list[Question]],
    length: int,
    orders: int,
    quora: Path | None,
    broken: list[str],
) -> Iterator[str]:
    """All tables, line by line as they are measured. What breaks a promise is added to `broken`."""
    yield "### Served under the operator's bound: wrong ÷ hits\n"
    yield _HEAD
    yield _RULE
    yield from streams(sources, length, orders, "hits", {}, broken)
    yield "\n### By the papers' definition: wrong ÷ requests\n"
    yield _HEAD.replace("÷ hits", "÷ requests")
    yield _RULE
    yield from streams(sources, length, orders, "requests", PUBLISHED, broken)
    yield "\n### False twins\n"
    yield from attacked(sources["banking77"][:length], broken)
    yield "\n### Tenants, with a store that mixes up their namespaces\n"
    yield from isolated(1_000 if length < 5_000 else 100_000, broken)
    yield "\n### The local embedder\n"
    yield from embedder(quora)


def streams(
    sources: dict[str, list[Question]],
    length: int,
    orders: int,
    basis: str,
    options: dict[str, object],
    broken: list[str],
) -> Iterator[str]:
    """One line for each stream, order and bound, and one for all streams together."""
    sums = {bound: [0, 0, 0, 0, 0] for bound in BOUNDS}
    for name, questions in sources.items():
        for order in range(orders):
            asked = stream(questions, length, order)
            fixed = thresholds(asked)
            for bound in BOUNDS:
                told = run(asked, order, max_error_rate=bound, **options)
                whole = told.hits if basis == "hits" else told.requests
                rate = told.wrong / whole if whole else 0.0
                static = best(fixed, bound, basis, len(asked))  # type: ignore[arg-type]
                equal = best(fixed, rate, basis, len(asked))  # type: ignore[arg-type]
                for place, count in enumerate((whole, told.wrong, told.requests, told.hits, equal.hits)):
                    sums[bound][place] += count
                low, high = wilson(told.wrong, whole)
                if low > bound:
                    broken.append(f"{name}, order {order}, bound {bound}: {rate:.2%} of {basis} were wrong")
                yield (
                    f"| {name} | {order} | {bound:.1%} | {told.hits / told.requests:.1%} | {told.wrong} | {rate:.2%} | "
                    f"{high:.2%} | {told.rechecks} | {static.hits / len(asked):.1%} | {equal.hits / len(asked):.1%} | "
                    f"{'yes' if rate <= bound else 'NO' if low > bound else 'within chance'} |"
                )
    for bound, (whole, wrong, requests, hits, equal_hits) in sums.items():
        rate = wrong / whole if whole else 0.0
        low, high = wilson(wrong, whole)
        kept = "yes" if rate <= bound else "NO" if low > bound else "within chance"
        yield (
            f"| all | | {bound:.1%} | {hits / requests:.1%} | {wrong} of {whole:,} | {rate:.2%} | {high:.2%} | | "
            f"| {equal_hits / requests:.1%} | {kept} |"
        )


def attacked(warm: list[Question], broken: list[str]) -> Iterator[str]:
    """The tier serves at its loosest bound, and is asked what only looks the same."""
    told = attack(BOUNDS[-1], warm)
    yield "| changed | asked | served |"
    yield "|---|---|---|"
    for kind, count in sorted(told.asked.items()):
        yield f"| {kind} | {count} | {told.served[kind]} |"
    yield f"| all | {told.asked.total()} | {told.served.total()} |"
    yield f"| nothing but a polite word | {told.asked.total()} | {told.control} |"
    if told.control < told.asked.total() / 20:
        broken.append("the tier serves next to nothing: the twins prove nothing")
    broken += [f"a false twin was served: {each.text!r} for {each.twin!r}" for each in told.examples]


def isolated(lookups: int, broken: list[str]) -> Iterator[str]:
    """Everybody asks everybody's questions."""
    told = isolate(lookups)
    yield "| look-ups | answered from one's own | from another's | from another's, without the tier's own filter |"
    yield "|---|---|---|---|"
    yield f"| {told.lookups:,} | {told.own:,} | {told.others} | {told.unfiltered:,} of {lookups // 10:,} |"
    if told.others:
        broken.append(f"{told.others} answers went to another tenant")
    if not told.unfiltered or not told.own:
        broken.append("nothing would have crossed without a filter either: the count of tenants proves nothing")


def embedder(quora: Path | None) -> Iterator[str]:
    """The table by itself, and the judge that rests on it."""
    told = measure(quora)
    yield "| figure | value |"
    yield "|---|---|"
    yield f"| size | {told.megabytes:.1f} MB |"
    yield f"| load | {told.load_ms:.0f} ms |"
    yield f"| one short text | {told.short_text_us:.0f} µs |"
    yield f"| BANKING77, nearest neighbour has the intent | {told.nearest_neighbour:.3f} |"
    if quora is not None:
        yield f"| Quora, {told.pairs:,} pairs: AP, AUC | {told.ap:.3f}, {told.auc:.3f} |"
        judged = judge(quora)
        yield f"| judge: different pairs called equal | {judged.called_equal} of {judged.different:,} |"
        yield f"| judge: same pairs called different | {judged.called_different} of {judged.same:,} |"


def write(lines: list[str], sources: dict[str, list[Question]], length: int) -> None:
    """The figures between the marks of README.md, and a drawing for each stream."""
    page = HERE / "README.md"
    before, _, rest = page.read_text("utf-8").partition("<!-- figures -->")
    _, _, after = rest.partition("<!-- end of figures -->")
    page.write_text(f"{before}<!-- figures -->\n" + "\n".join(lines) + f"\n<!-- end of figures -->{after}", "utf-8")
    for name, questions in sources.items():
        curves: dict[str, Outcome] = {}
        for bound in BOUNDS:
            curves[f"δ = {bound:.1%}"] = run(stream(questions, length, 0), 0, max_error_rate=bound)
        (HERE / f"{name}.svg").write_text(draw(name, curves), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
