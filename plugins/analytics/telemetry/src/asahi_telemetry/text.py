"""The text form of Prometheus, 0.0.4, and OpenMetrics 1.0. Sums are exact decimals, never through a float."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from asahi_telemetry.families import ALL, Family
from asahi_telemetry.tally import Labels, Tally


def render(tally: Tally, gauges: Mapping[tuple[str, Labels], float], *, openmetrics: bool, org_label: bool) -> bytes:
    """Every metric of which there is anything to tell, and those that begin at 0."""
    now: dict[str, dict[Labels, str]] = {}
    for (name, labels), value in gauges.items():
        now.setdefault(name, {})[labels] = _float(value)
    lines: list[str] = []
    for family in ALL:
        names = (*family.labels, "org") if family.by_org and org_label else family.labels
        told = list(_samples(family, names, tally)) + list(_now(family, names, now.get(family.name, {})))
        if told:
            lines += _head(family, openmetrics=openmetrics)
            lines += told
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _head(family: Family, *, openmetrics: bool) -> Iterator[str]:
    name, kind = family.name, str(family.kind)
    if openmetrics and family.untyped:
        kind = "unknown"
    elif openmetrics and kind == "counter":
        name = name.removesuffix("_total")
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {text.replace(chr(34), chr(92) + chr(34)) if openmetrics else text}"
    yield f"# TYPE {name} {kind}"


def _samples(family: Family, names: Iterable[str], tally: Tally) -> Iterator[str]:
    names = tuple(names)
    known = dict.fromkeys(family.known, [0] * family.width) if names == family.labels else {}
    for labels, numbers in sorted({**known, **tally.series.get(family.name, {})}.items()):
        if len(labels) != len(names):
            continue  # counted while `org_label` said otherwise
        pairs = list(zip(names, labels, strict=True))
        if family.bounds:
            yield from _histogram(family, pairs, numbers)
        else:
            yield f"{family.name}{_braced(pairs)} {exact(numbers[0], family.scale)}"


def _now(family: Family, names: Iterable[str], values: Mapping[Labels, str]) -> Iterator[str]:
    for labels, value in sorted(values.items()):
        yield f"{family.name}{_braced(list(zip(names, labels, strict=True)))} {value}"


def _histogram(family: Family, pairs: list[tuple[str, str]], numbers: list[int]) -> Iterator[str]:
    seen = 0
    for bound, number in zip((*map(float, family.bounds), float("inf")), numbers, strict=False):
        seen += number
        yield f"{family.name}_bucket{_braced([*pairs, ('le', _float(bound))])} {seen}"
    yield f"{family.name}_sum{_braced(pairs)} {exact(numbers[-1], family.scale)}"
    yield f"{family.name}_count{_braced(pairs)} {seen}"


def exact(number: int, scale: int) -> str:
    """A whole number of parts as a decimal."""
    if scale == 1:
        return str(number)
    whole, part = divmod(abs(number), scale)
    places = len(str(scale)) - 1
    return f"{'-' if number < 0 else ''}{whole}.{part:0{places}d}".rstrip("0").rstrip(".")


def _float(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))


def _braced(pairs: list[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").encode("utf-8", "replace").decode()
