"""A circuit breaker: stop asking what keeps failing, and try it again carefully."""

from __future__ import annotations

from collections.abc import Callable

from asahi_kernel.clock import monotonic
from asahi_kernel.settings import BreakerSettings

_HALF_WINDOW_S = 15.0


class Breaker:
    """Opens after some failures in a row, or when the failure rate of the last 30 s is too high over enough calls.

    While open no ordinary call is made for `open_s`; single probes, first after `first_probe_s` and then twice as far
    apart, may close it early. Times come from `clock` in seconds.
    """

    def __init__(self, settings: BreakerSettings | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._failed_in_a_row = 0
        self._recent = _Tally(0.0)
        self._before = _Tally(0.0)
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
            if not self._probing and self._clock() < self._open_until:
                return  # a call from before the outage says nothing about now
            self._open_until, self._probing = 0.0, False
            self._recent, self._before = _Tally(self._clock()), _Tally(0.0)
        self._tally().good += 1

    def fail(self) -> None:
        self._failed_in_a_row += 1
        self._tally().bad += 1
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

    def _tally(self) -> _Tally:
        now = self._clock()
        if now >= self._recent.begun + _HALF_WINDOW_S:
            fresh = now < self._recent.begun + 2 * _HALF_WINDOW_S
            self._before = self._recent if fresh else _Tally(now)
            self._recent = _Tally(now)
        return self._recent

    def _rate_too_high(self) -> bool:
        bad = self._recent.bad + self._before.bad
        calls = bad + self._recent.good + self._before.good
        return calls >= self._settings.min_calls and bad >= self._settings.failure_rate * calls


class _Tally:
    """Calls of half a window."""

    __slots__ = ("bad", "begun", "good")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.good = 0
        self.bad = 0
