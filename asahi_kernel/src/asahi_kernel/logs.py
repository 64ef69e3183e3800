"""Logs: one JSON object per line, or text for terminals. Never prompts, answers or keys."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from asahi_kernel.errors import AsahiError
from asahi_kernel.lines import Calm, Lines
from asahi_kernel.served import Served, access, current, tell, tell_by
from asahi_kernel.settings import Logging

_OURS = "asahi"
_STANDARD_ERROR = 2
_LONGEST = 2_000
_MOST_FRAMES = 12
#: What looks like a credential, wherever it comes from: keys of ours and of vendors, tokens, passwords in addresses.
_SECRET = re.compile(
    r"\bask_[A-Za-z0-9]+_[A-Za-z0-9]+|\b(?:sk|pk|rk|xai|gsk|pcsk)[-_][A-Za-z0-9_-]{12,}|(?i:\bbearer\s+)[^\s\"']{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_ACCESS = {"all": logging.NOTSET, "failures": logging.WARNING, "off": logging.CRITICAL}
_encode = msgspec.json.Encoder().encode


class JSONFormatter(logging.Formatter):
    """`timestamp, level, logger, message`; of the request that is being served its `request_id, org_id, route,
    trace_id`; `status` and `duration_ms` on the line that tells of its end; and `error` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": clean(record.name),
            "message": message_of(record),
        }
        return _encode(line | details_of(record)).decode()


class TextFormatter(logging.Formatter):
    """The same for people: time, level, logger, message, and the rest as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        rest = "".join(f" {name}={value}" for name, value in details_of(record).items())
        return f"{at} {record.levelname:<7} {clean(record.name)}: {message_of(record)}{rest}"


def configure(settings: Logging) -> None:
    """Send all logs of this process to standard error. DEBUG is for our own parts: a library's debugging lines quote
    what it is given, so of others only warnings are told, and of these the first line."""
    handler = Lines(_STANDARD_ERROR)
    handler.setFormatter(JSONFormatter() if settings.format == "json" else TextFormatter())
    handler.addFilter(_audible)
    handler.addFilter(Calm())
    logging.basicConfig(level=settings.level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # it would print the arguments of a line that cannot be made
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    least = max(logging.getLevelNamesMapping()[settings.level], _ACCESS[settings.access])
    logging.getLogger("asahi.access").setLevel(least)
    tell_by(partial(_ended, handler, least) if settings.format == "json" else tell)
    threading.excepthook = _lost_in_thread
    sys.unraisablehook = _unraisable


def announce(message: str, settings: Logging) -> None:
    """Say something on standard error whatever the level is: plainly to a person, else as a line like all others."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    if settings.format == "json" and not sys.stderr.isatty():
        record = logging.LogRecord(_OURS, logging.INFO, "", 0, message, None, None)
        message = JSONFormatter().format(record)
    print(message, file=sys.stderr, flush=True)


def message_of(record: logging.LogRecord) -> str:
    """What it says, on one line and without what looks like a key. Of other people's lines only the beginning."""
    if hasattr(record, "served"):
        return str(record.msg)
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)
    if not _own(record):
        text = text.partition("\n")[0]
    if record.name == "asyncio":
        text = text.partition("(")[0]  # it quotes the arguments of callbacks
    return clean(text)


def details_of(record: logging.LogRecord) -> dict[str, Any]:
    """The request that is being served, and what went wrong, without what is not known."""
    ended = getattr(record, "served", None)
    served = ended or current.get()
    if served is not None and ended is None and served.duration_ms is not None and not _own(record):
        served = None  # a connection of a library's that outlived the request which opened it
    told: dict[str, Any] = {}
    if served is not None:
        told = {"request_id": served.request_id, "org_id": served.org, "route": served.route}
        if ended is not None:
            told |= {"status": served.status, "duration_ms": served.duration_ms, "error": served.error}
        told["trace_id"] = served.trace_id
    if record.exc_info and record.exc_info[1] is not None:
        told["error"] = clean(fault_of(record.exc_info[1]))
    return {name: value for name, value in told.items() if value is not None}


def fault_of(error: BaseException) -> str:
    """What an exception is and where it came from, on one line. Its own words are left out: they may quote a prompt or
    a key. Those of the system's errors, and our codes, quote nothing."""
    parts = []
    seen: set[int] = set()
    told: BaseException | None = error
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        frames = traceback.extract_tb(told.__traceback__)[-_MOST_FRAMES:]
        where = " > ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames)
        parts.append(f"{_name(told)} at {where}" if where else _name(told))
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
    return "; after ".join(parts)


def clean(text: str) -> str:
    """Printable characters on one line: everything that could end it, colour it or turn it round is escaped."""
    text = _SECRET.sub("[secret]", text[:_LONGEST])
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _name(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, AsahiError):
        return f"{name} ({error.code})"
    return f"{name} ({error.strerror})" if isinstance(error, OSError) and error.strerror else name


class _Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    timestamp: datetime
    level: str
    logger: str
    message: str
    request_id: str
    org_id: str | None = None
    route: str | None = None
    status: int | None = None
    duration_ms: float | None = None
    error: str | None = None
    trace_id: str = ""


def _ended(lines: Lines, least: int, served: Served, level: int) -> None:
    """The line that a `JSONFormatter` would make of a request's end: there is one for each, so it is made directly."""
    if level < least:
        return
    name, words, request_id = logging.getLevelName(level), str(served), served.request_id
    org, route, status, ms, error = served.org, served.route, served.status, served.duration_ms, served.error
    at = datetime.now(UTC)
    line = _Ended(at, name, access.name, words, request_id, org, route, status, ms, error, served.trace_id)
    lines.put(_encode(line), urgent=level >= logging.WARNING)


def _own(record: logging.LogRecord) -> bool:
    return record.name.startswith(_OURS)


def _audible(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or _own(record)


def _lost_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        logging.getLogger("asahi").error("a thread failed", exc_info=told.exc_value)


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    if told.exc_value is not None:
        logging.getLogger("asahi").error("something failed while it was cleared away", exc_info=told.exc_value)
