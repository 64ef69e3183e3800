"""The strict edge before msgspec: one pass that turns a body into a plain tree or says why it is not strict JSON.

`json` does the work in C. The hook it calls per object only asks whether anything is odd; oddities are then found again
by a slow walk that knows the path, so that an ordinary body pays for neither paths nor a walk.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import NoReturn, TypeAlias

from msgspec import Struct

from asahi_kernel.errors import Invalid, InvalidJSON, TooLarge

STEERING = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "endpoint",
        "extra_body",
        "extra_headers",
        "extra_query",
        "host",
        "proxies",
        "proxy",
    }
)
"""Names by which a caller would choose where a request goes or with which credential.

They are refused at every depth but inside a tool's schema or arguments (`parameters`, `schema`, `input_schema`,
`properties`, `arguments`, and the `input` of a tool use), where the names are the caller's own: a tool may well take a
`host`, and nothing there is ever read as an option. At the top level nothing is exempt.
"""

_SCHEMAS = frozenset({"parameters", "schema", "input_schema", "properties", "arguments"})
_SPACE = " \t\n\r"
_STRUCTURAL = b"[]{},:"
_BRACKETS = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ESCAPE = re.compile(r"\\u(?:0000|[dD][89abAB]..(?!\\u[dD][c-fC-F])|[dD][c-fC-F](?<!\\u[dD][89abAB]..\\u[dD][c-fC-F]))")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,39}")
_WALKED = (list, str)
_BLANK = frozenset({"Cc", "Cf", "Me", "Mn", "Zl", "Zp", "Zs"})
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

_Pairs: TypeAlias = list[tuple[str, object]]


class Limits(Struct, frozen=True):
    """How deep and how rich a body may be; `structure` counts the characters `[]{},:` outside strings."""

    depth: int = 64
    structure: int = 400_000


_DEFAULT = Limits()


class _OddError(Exception):
    """An object has a repeated or a steering key; the walk tells which, and whether it matters."""


class _FoundError(Exception):
    """What the walk found; every level it leaves adds its key or index, so that only a refusal pays for its path."""

    def __init__(self, kind: type[Invalid], reason: str, *trail: str | int, code: str | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.trail = list(trail)
        self.code = code

    def refusal(self) -> Invalid:
        path = ""
        for step in reversed(self.trail):
            name = step if isinstance(step, int) or _NAME.fullmatch(step) else "?"
            path += f"[{name}]" if isinstance(step, int) else f".{name}" if path else str(name)
        path = path if len(path) <= 64 else f"{path[:63]}…"
        return self.kind(f"{path or 'the body'} {self.reason}", code=self.code, param=path or None)


class _Object(list[tuple[str, object]]):
    """A JSON object as its pairs, so that the walk still sees repeated keys."""


def scan(body: bytes, limits: Limits = _DEFAULT) -> object:
    """The tree of a strict JSON body. Raises `InvalidJSON`, `TooLarge`, or `Invalid` for NUL and steering names."""
    if len(body) > limits.structure or body.count(b"{") + body.count(b"[") > limits.depth:
        _measure(body, limits)
    try:
        text = body.decode()
        if "\\u" in text and _suspect(text):
            return _walk(_parse(_PAIRS, text), top=True, texts=True)
        try:
            return _parse(_TREE, text)
        except _OddError:
            return _walk(_parse(_PAIRS, text), top=True, texts=False)
    except _FoundError as found:
        raise found.refusal() from None
    except UnicodeDecodeError as error:
        raise InvalidJSON(f"the body is not valid UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _explain(error) from None
    except RecursionError:
        raise InvalidJSON(f"the body is nested deeper than {limits.depth} levels") from None
    except ValueError:
        raise InvalidJSON("an integer in the body has too many digits") from None


def text_is_blank(text: str) -> bool:
    """Whether a text shows nothing: only white space, zero-width, control, filler or combining characters."""
    if text[:1].isalnum() and text[0] not in _FILLERS:
        return False
    return all(char in _FILLERS or unicodedata.category(char) in _BLANK for char in set(text))


def _parse(decoder: json.JSONDecoder, text: str) -> object:
    """The one value of a text, which may have white space around it."""
    start = 0 if text[:1] == "{" else len(text) - len(text.lstrip(_SPACE))
    tree, end = decoder.raw_decode(text, start)
    if end != len(text) and text[end:].strip(_SPACE):
        raise InvalidJSON(f"the body goes on after its JSON value, at character {end}")
    return tree


def _plain(pairs: _Pairs) -> Mapping[str, object]:
    tree = dict(pairs)
    if len(tree) != len(pairs) or not STEERING.isdisjoint(tree):
        raise _OddError
    return tree


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise InvalidJSON("a number in the body is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidJSON(f"{name} is not JSON")


_TREE = json.JSONDecoder(object_pairs_hook=_plain, parse_float=_finite, parse_constant=_constant)
_PAIRS = json.JSONDecoder(object_pairs_hook=_Object, parse_float=_finite, parse_constant=_constant)


def _suspect(text: str) -> bool:
    """Whether an escape may be NUL or half a character; an escaped backslash must not hide or fake one."""
    return _ESCAPE.search(text.replace("\\\\", "__") if "\\\\" in text else text) is not None


def _explain(error: json.JSONDecodeError) -> Invalid:
    if not error.doc.strip(_SPACE):
        return InvalidJSON("the body is empty")
    if error.doc.startswith("\ufeff"):
        return InvalidJSON("the body starts with a byte-order mark")
    if error.msg.startswith("Invalid control") and error.doc[error.pos] == "\0":
        return Invalid("a string of the body holds NUL")
    return InvalidJSON(f"the body is not valid JSON at character {error.pos}: {error.msg.lower()}")


def _measure(body: bytes, limits: Limits) -> None:
    """Bounds structure and depth before anything is decoded, looking outside strings only where it must."""
    if _structure(body) <= limits.structure and body.count(b"{") + body.count(b"[") <= limits.depth:
        return
    outside = _outside_strings(body, limits)
    if len(outside) > limits.structure and _structure(outside) > limits.structure:
        raise _too_rich(limits)
    brackets = outside.translate(_BRACKETS, _NOT_BRACKETS)
    too_deep = b"{" * (limits.depth + 1)
    for _ in range(limits.depth):
        outer = brackets.replace(b"{}", b"")
        if not outer:
            return
        if len(outer) == len(brackets) or too_deep in outer:
            break
        brackets = outer
    if b"{}" in brackets or too_deep in brackets:
        raise InvalidJSON(f"the body is nested deeper than {limits.depth} levels")
    raise InvalidJSON("the brackets of the body do not match")


def _structure(body: bytes) -> int:
    return len(body) - len(body.translate(None, _STRUCTURAL))


def _outside_strings(body: bytes, limits: Limits) -> bytes:
    """A body without its strings. Strings need structure between them, so too many quotes are too much as well."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if len(body) - len(body.translate(None, b'"')) > 2 * limits.structure + 2:
        raise _too_rich(limits)
    return b"".join(body.split(b'"')[::2])


def _too_rich(limits: Limits) -> TooLarge:
    return TooLarge(f"the body has more than {limits.structure} structural characters: send fewer, larger values")


def _walk(node: object, *, schema: bool = False, top: bool = False, texts: bool) -> object:
    """The plain tree of pairs, refusing what is odd. Its depth is bounded by then."""
    if isinstance(node, _Object):
        return _walk_object(node, schema, top, texts)
    if isinstance(node, list):
        members = []
        for index, member in enumerate(node):
            try:
                members.append(_walk(member, schema=schema, texts=texts))
            except _FoundError as found:
                found.trail.append(index)
                raise
        return members
    if texts and isinstance(node, str):
        _check_text(node)
    return node


def _walk_object(pairs: _Object, schema: bool, top: bool, texts: bool) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in pairs:
        if key in tree:
            raise _FoundError(InvalidJSON, "comes twice", key)
        if key in STEERING and not schema:
            reason = "is not accepted: destinations and credentials are configured, never sent"
            raise _FoundError(Invalid, reason, key, code="unknown_field")
        exempt = schema or (not top and (key in _SCHEMAS or (key == "input" and _uses_tool(pairs))))
        try:
            if texts:
                _check_text(key)
            tree[key] = _walk(value, schema=exempt, texts=texts) if isinstance(value, _WALKED) else value
        except _FoundError as found:
            found.trail.append(key)
            raise
    return tree


def _uses_tool(pairs: _Object) -> bool:
    return any(key == "type" and isinstance(value, str) and value.endswith("tool_use") for key, value in pairs)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _FoundError(Invalid, "holds NUL")
    if _SURROGATE.search(text):
        raise _FoundError(InvalidJSON, "holds half a surrogate pair")
