"""Reads recorded traffic: JSON lines, each a body of `POST /infer` or of `POST /v1/chat/completions`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.benchmark.workload import Case, Kind
from asahi_kernel.errors import AsahiError, Invalid
from asahi_kernel.wire import native, openai
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from asahi_kernel.registry import Registry
    from asahi_kernel.types import Request

#: Members that change how an answer is delivered, not what it is: everything is replayed whole.
_DELIVERY = frozenset({"stream", "stream_options", "dry_run"})


class BadTrace(Invalid):
    """A line of the trace cannot be replayed; the message names it."""

    code = "bad_trace"


def read(path: Path) -> tuple[Case, ...]:
    """The cases of a file, in its order; a body that came before is a repeat. Raises `BadTrace` with the line's number.

    Blank lines are skipped, and a name that ends in `.gz` is unpacked. A streamed request is replayed whole.
    """
    cases: list[Case] = []
    seen: set[bytes] = set()
    for number, line in lines(path, BadTrace):
        try:
            case = _case(number, line)
        except AsahiError as error:
            raise BadTrace(f"{path.name} line {number}: {error.message}") from error
        cases.append(msgspec.structs.replace(case, kind="repeat") if case.body in seen else case)
        seen.add(case.body)
    if not cases:
        raise BadTrace(f"{path.name}: there is no request in this file")
    return tuple(cases)


def lines(path: Path, refusal: type[Invalid]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers; a name that ends in `.gz` is unpacked. Raises `refusal`."""
    try:
        whole = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise refusal(f"{path.name}: cannot be read: {error}") from error
    return ((number, line) for number, line in enumerate(whole.splitlines(), 1) if line.strip())


def check_models(cases: Sequence[Case], registry: Registry) -> None:
    """Refuse a request that names a model nobody serves here, before anything is called."""
    for case in cases:
        named = decode(case).model
        if named is not None:
            try:
                registry.find(named)
            except Invalid as error:
                raise BadTrace(f"{case.id}: {error.message}. `aliases` in the configuration can map it") from error


def decode(case: Case) -> Request:
    """What the case asks for."""
    asked = openai.decode(case.body, {}) if case.wire == "openai" else native.decode(case.body, {})
    return asked.request


def case_of(identity: str, tree: Mapping[str, object], kind: Kind) -> Case:
    """One body as a case, whose answer comes whole. Raises `Invalid` for what the wire would refuse."""
    if "prompt" not in tree and "messages" not in tree:
        raise Invalid("neither `prompt` (a body of /infer) nor `messages` (a chat body) is there")
    kept = {name: value for name, value in tree.items() if name not in _DELIVERY}
    case = Case(
        id=identity,
        kind=kind,
        wire="openai" if "messages" in tree else "native",
        body=msgspec.json.encode(kept),
    )
    decode(case)
    return case


def _case(number: int, line: bytes) -> Case:
    tree = scan(line)
    if not isinstance(tree, dict):
        raise Invalid("a line must be a JSON object")
    return case_of(f"line {number}", tree, "trace")
