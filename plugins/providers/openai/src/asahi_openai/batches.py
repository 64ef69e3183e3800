"""Batches at OpenAI: a file of requests goes up, a batch is made of it, files of answers come down."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from asahi_kernel import Batch, Completion, Model, ProviderError, Request
from asahi_kernel.batching import check_batch_id, check_members, gather
from asahi_kernel.http.call import Caller
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import lines_of, read
from asahi_openai.decode import decode_reply

Encode: TypeAlias = Callable[[Request], bytes]
State: TypeAlias = Literal["queued", "running", "done", "cancelled", "failed"]

_ENDPOINT = b"/v1/chat/completions"
_FILE_S = 300.0
_MOST_BYTES = 256 << 20
_STATES: Mapping[str, State] = {
    "validating": "queued",
    "failed": "failed",
    "in_progress": "running",
    "finalizing": "running",
    "completed": "done",
    "expired": "done",
    "cancelling": "running",
    "cancelled": "cancelled",
}


class _Made(Struct, frozen=True):
    id: str


class _Fault(Struct, frozen=True):
    message: str | None = None
    code: str | None = None


class _Faults(Struct, frozen=True):
    data: list[_Fault] = []


class _Told(Struct, frozen=True):
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Faults | None = None


class _Response(Struct, frozen=True):
    status_code: int
    body: Raw
    request_id: str | None = None


class _Line(Struct, frozen=True):
    custom_id: str
    response: _Response | None = None
    error: _Fault | None = None


_encode = msgspec.json.Encoder().encode
_made = msgspec.json.Decoder(_Made).decode
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
        head = b'{"custom_id":%b,"method":"POST","url":"' + _ENDPOINT + b'","body":%b}'
        lines = b"\n".join(head % (_encode(name), self._encode(request, model)) for name, request in members)
        kind, body = _form(lines)
        file_id = await self._caller.whole("/files", body, _id, _FILE_S, kind=kind)
        asked = {"input_file_id": file_id, "endpoint": _ENDPOINT.decode(), "completion_window": "24h"}
        return await self._caller.whole("/batches", _encode(asked), _id)

    async def poll(self, model: Model, batch_id: str) -> Batch:
        """How far it is, with the answers once it is over."""
        path = f"/batches/{check_batch_id(batch_id)}"
        told = await self._caller.whole(path, b"", lambda reply, _: read(_told, reply), method="GET")
        state = _STATES.get(told.status, "running")
        if state == "failed":
            return Batch(state=state, error=_why(told.errors))
        if state in ("queued", "running"):
            return Batch(state=state)
        files = [each for each in (told.output_file_id, told.error_file_id) if each]
        answers = [answer for each in files for answer in await self._answers(model, each)]
        return Batch(state=state, results=gather(answers))

    async def cancel(self, batch_id: str) -> None:
        """Asks the vendor to do no more of it; what is done is billed."""
        await self._caller.whole(f"/batches/{check_batch_id(batch_id)}/cancel", b"{}", _id)

    async def _answers(self, model: Model, file_id: str) -> Sequence[tuple[str, Completion | ProviderError]]:
        path = f"/files/{check_batch_id(file_id)}/content"

        def lines(reply: bytes, _: str) -> Sequence[tuple[str, Completion | ProviderError]]:
            return list(self._read(reply, model))

        return await self._caller.whole(path, b"", lines, _FILE_S, method="GET", most=_MOST_BYTES)

    def _read(self, reply: bytes, model: Model) -> Iterator[tuple[str, Completion | ProviderError]]:
        for line in lines_of(_line, reply):
            yield line.custom_id, self._member(line, model)

    def _member(self, line: _Line, model: Model) -> Completion | ProviderError:
        response = line.response
        if line.error is not None or response is None:
            reason = line.error.code if line.error else None
            return ProviderError(f"did not answer this member: {reason or 'no reason given'}", retryable=False)
        if response.status_code != 200:
            return self._caller.refusal(response.status_code, bytes(response.body))
        try:
            return decode_reply(bytes(response.body), model.name, response.request_id or "")
        except (Garbage, Failure) as error:
            return self._caller.failure(error)


def _id(reply: bytes, request_id: str) -> str:
    return check_batch_id(read(_made, reply).id)


def _why(errors: _Faults | None) -> str:
    told = errors.data[0] if errors and errors.data else _Fault()
    return f"the host did not take the batch: {(told.code or 'no reason given')[:100]}"


def _form(lines: bytes) -> tuple[str, bytes]:
    """The form that carries a file, and its kind."""
    border = secrets.token_hex(16).encode()
    purpose = b'--%b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % border
    head = b'--%b\r\ncontent-disposition: form-data; name="file"; filename="batch.jsonl"\r\n' % border
    body = purpose + head + b"content-type: application/jsonl\r\n\r\n" + lines + b"\r\n--%b--\r\n" % border
    return f"multipart/form-data; boundary={border.decode()}", body
