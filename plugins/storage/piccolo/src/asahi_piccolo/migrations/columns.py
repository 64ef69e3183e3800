"""The kinds of columns that the tables have. A migration that has run never changes, and so neither may these."""

from __future__ import annotations

from piccolo.columns import (
    JSONB,
    BigInt,
    BigSerial,
    Boolean,
    Bytea,
    Column,
    DoublePrecision,
    Integer,
    SmallInt,
    Text,
    Timestamptz,
    Varchar,
)

Sealed = Bytea  # enc: what is in it was sealed before it came here


def key() -> Column:
    return BigSerial(primary_key=True)


def word(length: int = 255, *, unique: bool = False, index: bool = False) -> Column:
    return Varchar(length=length, unique=unique, index=index)


def maybe_word(length: int = 255) -> Column:
    return Varchar(length=length, null=True, default=None)


def text() -> Column:
    return Text()


def maybe_text() -> Column:
    return Text(null=True, default=None)


def small(default: int = 0) -> Column:
    return SmallInt(default=default)


def number(default: int = 0) -> Column:
    return Integer(default=default)


def maybe_number() -> Column:
    return Integer(null=True, default=None)


def big() -> Column:
    return BigInt(default=0)


def maybe_big() -> Column:
    return BigInt(null=True, default=None)


def real() -> Column:
    return DoublePrecision(default=0.0)


def maybe_real() -> Column:
    return DoublePrecision(null=True, default=None)


def fact(*, default: bool = False) -> Column:
    return Boolean(default=default)


def maybe_fact() -> Column:
    return Boolean(null=True, default=None)


def moment(*, index: bool = False) -> Column:
    return Timestamptz(index=index)


def maybe_moment() -> Column:
    return Timestamptz(null=True, default=None)


def document(default: str = "{}") -> Column:
    return JSONB(default=default)


def maybe_document() -> Column:
    return JSONB(null=True, default=None)


def sealed() -> Column:
    return Sealed(default=b"")


def maybe_sealed() -> Column:
    return Sealed(null=True, default=None)
