"""What a wire of the fake upstream is: a module or an object with these members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from asahi_kernel.testing.fakeup.generation import Answer, Call
from asahi_kernel.testing.fakeup.script import Script


class Wire(Protocol):
    """One vendor's way to ask and to answer."""

    @property
    def PATH(self) -> str: ...  # noqa: N802 - a module's constant
    def decode(self, body: bytes) -> Call: ...
    def usage(self, script: Script, answer: Answer) -> bytes | None: ...
    def reply(self, answer: Answer) -> bytes: ...
    def frames(self, answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]: ...
    def error(self, status: int, message: str) -> bytes: ...
    def error_event(self) -> bytes: ...
