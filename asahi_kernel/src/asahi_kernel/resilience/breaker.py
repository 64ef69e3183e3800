"""A circuit breaker: stop asking what keeps failing, and try it again carefully."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from asahi_kernel.settings import BreakerSettings

_WINDOW_S = 30.0


class Breaker:
    """Opens after some failures in a row, or when the failure rate of the last 30 s is too high over enough calls.

    While open no ordinary call is made for `open_s`; single probes, first after `first_probe_s` and then twice as far
    apart, may close it early. Times come from `clock` in seconds.
    """

    def __init__(self, settings: BreakerSettings | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._failed_in_a_row = 0
        self._calls: deque[tuple[float, bool]] = deque()
        self._open_until = 0.0
        self._probe_at = 0.0
        self._probe_gap = 0.0
        self._probing = False
        self.opened = 0

    @property
    def open(self) -> bool:
        return self._open_until > 0.0

    def available(self) -> bool:
        """Whether a call may be made now. Changes nothing."""
        if not self.open:
            return True
        now = self._clock()
        return now >= self._open_until or (now >= self._probe_at and not self._probing)

    def enter(self) -> bool:
        """Ask for a call. While open the one that gets it is the probe: it must report back."""
        if not self.open:
            return True
        if not self.available():
            return False
        self._probing = True
        self._probe_gap *= 2
        self._probe_at = self._clock() + self._probe_gap
        return True

    def wait_s(self) -> float:
        """Seconds until the next call may be made; 0 when closed."""
        return max(0.0, min(self._open_until, self._probe_at) - self._clock()) if self.open else 0.0

    def succeed(self) -> None:
        self._failed_in_a_row = 0
        if self.open:
            self._open_until, self._probing = 0.0, False
            self._calls.clear()
        elif self._calls:
            self._note(True)

    def fail(self) -> None:
        self._failed_in_a_row += 1
        self._note(False)
        if self.open:
            self._probing = False
            if self._clock() >= self._open_until:
                self._trip()
        elif self._failed_in_a_row >= self._settings.consecutive_failures or self._rate_too_high():
            self._trip()

    def leave(self) -> None:
        """The call ended without a verdict, such as a cancelled one: a probe gives its place back."""
        self._probing = False

    def _trip(self) -> None:
        now = self._clock()
        self.opened += 1
        self._open_until = now + self._settings.open_s
        self._probe_gap = self._settings.first_probe_s
        self._probe_at = now + self._probe_gap

    def _note(self, success: bool) -> None:
        now = self._clock()
        self._calls.append((now, success))
        while self._calls and self._calls[0][0] < now - _WINDOW_S:
            self._calls.popleft()

    def _rate_too_high(self) -> bool:
        failures = sum(not success for _, success in self._calls)
        return len(self._calls) >= self._settings.min_calls and failures >= self._settings.failure_rate * len(
            self._calls
        )
