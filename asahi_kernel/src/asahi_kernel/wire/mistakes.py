"""Turns a validation error into a sentence that names the field and what it may be."""

from __future__ import annotations

import re
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from asahi_kernel.errors import Invalid
from asahi_kernel.wire.names import unknown

T = TypeVar("T")

_FIELD = re.compile(
    r"Object (contains unknown|missing required) field `(.*?)`(?: - at `\$\.?([\w.\[\]]*)`)?\Z", re.DOTALL
)
_PLACE = re.compile(r" - at (`key` in )?`\$\.?([^`]*)`\Z")
_STEP = re.compile(r"[^.\[\]]+|\[(?:\d+|\.\.\.)\]")
_PREFERENCES = frozenset({"quality_preference", "latency_preference"})


def checked(tree: object, kind: type[T], where: str = "") -> T:
    """The tree as a Struct, or Invalid: `where` is the path of the tree itself."""
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise explain(str(error), kind, where) from None


def explain(text: str, kind: type, where: str = "") -> Invalid:
    """The error for one of msgspec's messages about a value of this kind."""
    if len(text) > 1_000:
        text = text[:200] + text[-300:]
    if found := _FIELD.match(text):
        verb, name, inner = found.groups()
        return _of_field(verb, name, _join(where, inner or ""), _reach(_shape(kind), inner or ""))
    found = _PLACE.search(text)
    inner = found[2] if found else ""
    shape = _reach(_shape(kind), inner)
    place = _join(where, inner)
    if found and found[1]:
        holder = _only(shape, (inspect.DictType,))
        keys = holder.key_type if isinstance(holder, inspect.DictType) else holder
        return Invalid(f"each key of `{place}` must be {_words(keys)}", param=place)
    code = "invalid_preference" if inner in _PREFERENCES else None
    subject = f"`{place}`" if place else "the body"
    return Invalid(f"{subject} must be {_words(shape)}", code=code, param=place or None)


def _of_field(verb: str, name: str, place: str, shape: inspect.Type) -> Invalid:
    if verb == "contains unknown":
        holder = _only(shape, (inspect.StructType,))
        fields = holder.fields if isinstance(holder, inspect.StructType) else ()
        return unknown(name, frozenset(field.encode_name for field in fields), place)
    return Invalid(f"`{_join(place, name)}` is required", param=_join(place, name))


def _join(where: str, inner: str) -> str:
    return f"{where}.{inner}" if where and inner and not inner.startswith("[") else where + inner


@cache
def _shape(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _reach(shape: inspect.Type, path: str) -> inspect.Type:
    for step in _STEP.findall(path):
        shape = _enter(shape, step)
    return shape


def _enter(shape: inspect.Type, step: str) -> inspect.Type:
    if not step.startswith("["):
        found = _only(shape, (inspect.StructType,))
        if isinstance(found, inspect.StructType):
            return next((field.type for field in found.fields if field.encode_name == step), found)
        return found
    found = _only(shape, (inspect.ListType, inspect.VarTupleType, inspect.DictType))
    if isinstance(found, (inspect.ListType, inspect.VarTupleType)):
        return found.item_type
    return found.value_type if isinstance(found, inspect.DictType) else found


def _only(shape: inspect.Type, kinds: tuple[type[inspect.Type], ...]) -> inspect.Type:
    if isinstance(shape, inspect.Metadata):
        return _only(shape.type, kinds)
    if isinstance(shape, inspect.UnionType):
        members = [member for member in shape.types if not isinstance(member, inspect.NoneType)]
        return next((member for member in members if isinstance(member, kinds)), shape)
    return shape


def _words(shape: inspect.Type) -> str:
    match shape:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return str(schema["description"]) if schema and "description" in schema else _words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(_words(member) for member in types if not isinstance(member, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f"'{value}'" for value in values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return "an integer" + _range(low, high)
        case inspect.FloatType(ge=low, le=high):
            return "a number" + _range(low, high)
        case inspect.StrType(min_length=low, max_length=high):
            return "a string" + _size(low, high, "characters")
        case inspect.ListType(min_length=low, max_length=high) | inspect.VarTupleType(min_length=low, max_length=high):
            return "a list" + _size(low, high, "items")
        case inspect.DictType(min_length=low, max_length=high):
            return "an object" + _size(low, high, "members")
        case _:
            return "an object"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""


def _size(low: int | None, high: int | None, unit: str) -> str:
    if low and high is not None:
        return f" of {low} to {high} {unit}"
    if high is not None:
        return f" of at most {high} {unit}"
    return f" of at least {low} {unit}" if low else ""
