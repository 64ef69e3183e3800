"""The caller's terms from Asahi's own fields, and the headers that may stand in for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import inspect
from msgspec.structs import fields

from asahi_kernel.errors import Invalid
from asahi_kernel.money import nano
from asahi_kernel.types import Document, Example, Mode, Terms
from asahi_kernel.wire.fields import AsahiFields
from asahi_kernel.wire.names import unknown
from asahi_kernel.wire.strict import scan

PREFIX = "x-asahi-"


def gather(body: bytes, headers: Mapping[str, str]) -> dict[str, object]:
    """The body's members and those sent as headers, unchecked but for being JSON. Header names are in lower case."""
    tree = scan(body)
    if not isinstance(tree, dict):
        raise Invalid("the body must be a JSON object")
    sent = [name for name in headers if name.startswith(PREFIX)]
    return _merged(tree, sent, headers) if sent else tree


def terms_of(said: AsahiFields, model: str | None, stream: bool, headers: Mapping[str, str]) -> Terms:
    """The caller's terms; raises when explicit mode is asked for without a model."""
    if said.routing_mode == "explicit" and model is None:
        raise Invalid("`routing_mode` 'explicit' needs a `model`", code="model_required", param="model")
    budget, mode = said.cost_budget, said.routing_mode or _implied(said, model)
    return Terms(
        mode=mode,
        undecided=said.routing_mode is None and mode == "autopilot",
        quality_threshold=said.quality_threshold,
        latency_budget_ms=said.latency_budget_ms,
        cost_budget=None if budget is None else nano(budget),
        quality_preference=said.quality_preference,
        latency_preference=said.latency_preference,
        on_no_route=said.on_no_route,
        cache=said.cache,
        semantic_cache=said.semantic_cache,
        intermediate_cache=said.intermediate_cache,
        similarity_threshold=said.similarity_threshold,
        task_type=said.task_type,
        task_id=said.task_id,
        tags=said.tags,
        stream=stream,
        dry_run=said.dry_run,
        client_request_id=client_request_id(headers),
    )


def model_of(said: AsahiFields, model: str | None) -> str | None:
    """The named model, or None when Asahi is to choose."""
    named = {name for name in (model, said.model_override) if name is not None and name != "auto"}
    if len(named) > 1:
        raise Invalid("`model` and `model_override` differ", code="conflicting_fields", param="model_override")
    return named.pop() if named else None


def document_of(said: AsahiFields) -> Document | None:
    """The document apart from the question; an id alone names nothing and is refused."""
    if said.document is not None:
        return Document(said.document, said.document_id)
    if said.document_id is not None:
        raise Invalid("`document_id` needs a `document`", param="document_id")
    return None


def examples_of(said: AsahiFields) -> tuple[Example, ...]:
    """The few-shot examples, in order."""
    return tuple(Example(pair.input, pair.output) for pair in said.examples)


def client_request_id(headers: Mapping[str, str]) -> str | None:
    """The client's own id for this request, kept beside ours; one that is no 1 to 128 printable ASCII is ignored."""
    value = headers.get("x-request-id")
    return value if value and _printable(value, 128) else None


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The idempotency key, or Invalid unless it is 1 to 255 printable ASCII characters."""
    value = headers.get("idempotency-key")
    if value is None or (value and _printable(value, 255)):
        return value
    raise Invalid("`Idempotency-Key` must be 1 to 255 printable ASCII characters", param="Idempotency-Key")


def _printable(value: str, longest: int) -> bool:
    return len(value) <= longest and value.isascii() and value.isprintable()


def _implied(said: AsahiFields, model: str | None) -> Mode:
    if model is not None:
        return "explicit"
    return "guided" if said.quality_preference or said.latency_preference else "autopilot"


def _merged(tree: dict[str, object], sent: list[str], headers: Mapping[str, str]) -> dict[str, object]:
    merged = dict(tree)
    for header in sent:
        name = _HEADERS.get(header)
        if name is None:
            raise unknown(header, frozenset(_HEADERS))
        value = _READERS[name](header, headers[header])
        if name in tree and tree[name] != value:
            raise Invalid(
                f"`{name}` in the body and the header `{header}` differ", code="conflicting_fields", param=name
            )
        merged.setdefault(name, value)
    return merged


def _text(header: str, value: str) -> object:
    return value


def _integer(header: str, value: str) -> object:
    if re.fullmatch(r"-?[0-9]{1,20}", value):
        return int(value)
    raise Invalid(f"header `{header}` must be an integer", param=header)


def _number(header: str, value: str) -> object:
    if len(value) <= 40 and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", value):
        return float(value)
    raise Invalid(f"header `{header}` must be a number", param=header)


def _flag(header: str, value: str) -> object:
    if value in {"true", "false"}:
        return value == "true"
    raise Invalid(f"header `{header}` must be true or false", param=header)


def _object(header: str, value: str) -> object:
    try:
        return scan(value.encode("latin-1", "backslashreplace"))
    except Invalid as error:
        raise Invalid(f"header `{header}` must be a JSON object: {error.message}", param=header) from None


def _reader(shape: inspect.Type) -> Callable[[str, str], object] | None:
    members = shape.types if isinstance(shape, inspect.UnionType) else (shape,)
    match members[0]:
        case inspect.IntType():
            return _integer
        case inspect.FloatType():
            return _number
        case inspect.BoolType():
            return _flag
        case inspect.DictType():
            return _object
        case inspect.LiteralType() | inspect.Metadata():
            return _text
        case _:
            return None


def _readers() -> dict[str, Callable[[str, str], object]]:
    found = {field.name: _reader(inspect.type_info(field.type)) for field in fields(AsahiFields)}
    return {name: reader for name, reader in found.items() if reader is not None}


# `document` and `examples` are texts without bound for a header, and so have no reader.
_READERS = _readers()
_HEADERS = {PREFIX + name.replace("_", "-"): name for name in _READERS}
