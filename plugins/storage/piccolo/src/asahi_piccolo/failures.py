"""What went wrong at the database, in two words: `Unavailable` (ask again) or `Unstorable` (this row never).

No message holds a value, a host or a password: those of the drivers do.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from asahi_kernel.errors import AsahiError, Unstorable
from asahi_piccolo.database import unavailable

log = logging.getLogger(__name__)

#: SQLSTATE classes that lie in the values: data exceptions and integrity violations.
_VALUES = ("22", "23")
_BUSY = {"53300": "the database has no connection to spare", "57P03": "the database is starting or stopping"}
_GONE = ("08", "57")


@contextmanager
def postgres_failures() -> Iterator[None]:
    """Turns what asyncpg raises into the two words."""
    import asyncpg

    try:
        yield
    except asyncpg.exceptions.PostgresError as error:
        raise _of_state(error.sqlstate or "", error) from error
    except (asyncpg.exceptions.DataError, UnicodeEncodeError, OverflowError) as error:
        raise Unstorable(f"a value is not what its column takes ({type(error).__name__})") from error
    except (OSError, TimeoutError, asyncpg.exceptions.InterfaceError, asyncpg.exceptions.InternalClientError) as error:
        raise unavailable("the database cannot be reached") from error


def _of_state(state: str, error: Exception) -> AsahiError | Unstorable:
    if state.startswith(_VALUES):
        where = getattr(error, "constraint_name", None) or getattr(error, "column_name", None) or "a column"
        return Unstorable(f"the database refuses a value of {where} (SQLSTATE {state})")
    if state in {"42P01", "42703"}:
        return unavailable("the schema is not up to date: run 'asahi db upgrade'")
    if state in _BUSY:
        return unavailable(_BUSY[state])
    if state.startswith(_GONE):
        return unavailable("the database ended the statement or the connection")
    log.warning("the database failed with SQLSTATE %s", state)
    return unavailable(f"the database failed (SQLSTATE {state})")


@contextmanager
def sqlite_failures() -> Iterator[None]:
    """Turns what sqlite3 raises into the two words."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError) as error:
        raise Unstorable(f"a value is not what its column takes ({_name(error)})") from error
    except sqlite3.Error as error:
        if "no such table" in str(error) or "no such column" in str(error) or "has no column" in str(error):
            raise unavailable("the schema is not up to date: run 'asahi db upgrade'") from error
        raise unavailable(f"the database file cannot be used now ({_name(error)})") from error
    except OSError as error:
        raise unavailable(f"the database file cannot be used now ({type(error).__name__})") from error


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", None) or type(error).__name__
