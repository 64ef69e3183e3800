"""The lines of the log on their way out: written by a thread, since a pipe that nobody reads must not stop the loop;
and what is said over and over is said once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

#: Goes as `extra` with a line that tells of a change, such as of a dependency that is back: it is never held back.
CHANGE = {"change": True}
_MOST = 20_000
_GATHER_S = 0.1
_FLUSH_S = 2.0
_AGAIN_S = 0.05
_LOOK_S = 0.005
_QUIET_S = 60.0
_MOST_KEYS = 1_000


class Lines(logging.Handler):
    """Writes to a file descriptor. Lines that find no room, as nobody takes them, are lost; how many is written once
    there is room again."""

    def __init__(self, descriptor: int, most: int = _MOST) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._most = most
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._writing = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - what cannot be told must not end what it is about; it is in no counter's reach
            self._lost += 1
            return
        self.put(line.encode("utf-8", "backslashreplace"), urgent=record.levelno >= logging.WARNING)

    def put(self, line: bytes, *, urgent: bool) -> None:
        """A line that is ready, to be written soon, or at once if it is urgent."""
        if len(self._waiting) >= self._most:
            self._lost += 1
            return
        self._waiting.append(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="asahi-log", daemon=True)
            self._thread.start()
        if urgent:
            self._hurry.set()
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Wait until everything is out, for two seconds at most."""
        until = time.monotonic() + _FLUSH_S
        while (self._waiting or self._writing) and time.monotonic() < until:
            self._hurry.set()
            self._wake.set()
            time.sleep(_LOOK_S)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(_GATHER_S)
            self._hurry.clear()
            self._wake.clear()
            self._writing = True
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            lost, self._lost = self._lost, 0
            if lost:
                told = f"{lost} lines of the log are lost: they could not be written"
                record = logging.LogRecord("asahi", logging.WARNING, "", 0, told, None, None)
                lines.append(self.format(record).encode())
            if not self._written(b"\n".join([*lines, b""])):
                self._lost += len(lines)
            self._writing = False

    def _written(self, text: bytes) -> bool:
        """Past Python's own buffers: whoever waits in them when the process ends would hold it up."""
        while text:
            try:
                text = text[os.write(self._descriptor, text) :]
            except BlockingIOError:
                time.sleep(_AGAIN_S)
            except OSError:
                return False
        return True


class Calm(logging.Filter):
    """Lets a warning through once, and again when it has not been meant for a minute: a dependency that is away is told
    of once, however often it is asked, and whatever figures differ. How often it was meant is said the next time. Lines
    with a stack or of a change are never held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[Any, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if (
            record.levelno < logging.WARNING
            or record.exc_info
            or hasattr(record, "served")
            or hasattr(record, "change")
        ):
            return True
        now, key = self._clock(), _meant(record)
        at, held = self._said.get(key, (now - _QUIET_S, 0))
        if now - at < _QUIET_S:
            self._said[key] = (now, held + 1)
            return False
        if len(self._said) >= _MOST_KEYS:
            self._said.clear()
        self._said[key] = (now, 0)
        if held:
            record.msg, record.args = "%s (and %d times before)", (record.getMessage(), held)
        return True


def _meant(record: logging.LogRecord) -> Any:
    args = record.args if isinstance(record.args, tuple) else (record.args,)
    return record.name, str(record.msg), repr([each for each in args if not isinstance(each, int | float)])
