"""Batches at Anthropic: requests go up in one body, answers come down line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct

from asahi_anthropic.decode import decode_reply
from asahi_kernel import Batch, Completion, Model, ProviderError, Request
from asahi_kernel.batching import check_batch_id, check_members, gather
from asahi_kernel.http.call import Caller
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import lines_of, read

_PATH = "/v1/messages/batches"
_FILE_S = 300.0
_MOST_BYTES = 256 << 20
_NOTHING = Raw(b"null")


class _Counts(Struct, frozen=True):
    canceled: int = 0


class _Told(Struct, frozen=True):
    id: str
    processing_status: str
    request_counts: _Counts = _Counts()


class _Error(Struct, frozen=True):
    error: Raw = _NOTHING


class _Result(Struct, frozen=True):
    type: str
    message: Raw = _NOTHING
    error: _Error = _Error()


class _Line(Struct, frozen=True):
    custom_id: str
    result: _Result


_encode = msgspec.json.Encoder().encode
_told = msgspec.json.Decoder(_Told).decode
_line = msgspec.json.Decoder(_Line).decode


class Batches:
    """The batches of one host."""

    def __init__(self, caller: Caller, encode: Callable[[Request, Model], bytes]) -> None:
        self._caller = caller
        self._encode = encode

    async def submit(self, model: Model, members: Sequence[tuple[str, Request]]) -> str:
        """The id of a new batch of these requests."""
        check_members(members)
        form = b'{"custom_id":%b,"params":%b}'
        each = (form % (_encode(name), self._encode(request, model)) for name, request in members)
        body = b'{"requests":[' + b",".join(each) + b"]}"
        told = await self._caller.whole(_PATH, body, _read_told, _FILE_S)
        return check_batch_id(told.id)

    async def poll(self, model: Model, batch_id: str) -> Batch:
        """How far it is, with the answers once it is over."""
        path = f"{_PATH}/{check_batch_id(batch_id)}"
        told = await self._caller.whole(path, b"", _read_told, method="GET")
        if told.processing_status != "ended":
            return Batch(state="running")

        def lines(reply: bytes, _: str) -> Sequence[tuple[str, Completion | ProviderError]]:
            return list(self._read(reply, model))

        answers = await self._caller.whole(f"{path}/results", b"", lines, _FILE_S, method="GET", most=_MOST_BYTES)
        return Batch(state="cancelled" if told.request_counts.canceled else "done", results=gather(answers))

    async def cancel(self, batch_id: str) -> None:
        """Asks the vendor to do no more of it; what is done is billed."""
        await self._caller.whole(f"{_PATH}/{check_batch_id(batch_id)}/cancel", b"{}", _read_told)

    def _read(self, reply: bytes, model: Model) -> Iterator[tuple[str, Completion | ProviderError]]:
        for line in lines_of(_line, reply):
            yield line.custom_id, self._member(line.result, model)

    def _member(self, result: _Result, model: Model) -> Completion | ProviderError:
        if result.type == "errored":
            return self._caller.failure(Failure(bytes(result.error.error)))
        if result.type != "succeeded":
            return ProviderError(f"did not answer this member: {result.type[:100]}", retryable=False)
        try:
            return decode_reply(bytes(result.message), model.name, "")
        except (Garbage, Failure) as error:
            return self._caller.failure(error)


def _read_told(reply: bytes, request_id: str) -> _Told:
    return read(_told, reply)
