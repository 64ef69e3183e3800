"""Batches as OpenAI and Anthropic have them: taken at once, answered after two polls, at half the price."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from asahi_kernel.testing.fakeup import anthropic, openai
from asahi_kernel.testing.fakeup.connection import Ask
from asahi_kernel.testing.fakeup.script import Script
from asahi_kernel.testing.fakeup.wire import Wire

FILES, OPENAI, ANTHROPIC = "/v1/files", "/v1/batches", "/v1/messages/batches"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POLLS = 2


class Outcome(Struct, frozen=True):
    """What became of a member: the status and body that a live call would have had."""

    script: Script
    status: int
    body: bytes


#: Answers a member: the wire, the body of its request, the credential of its batch.
Run = Callable[[Wire, bytes, str], Outcome]


class _Member(Struct, frozen=True):
    custom_id: str
    params: Raw


class _Batch(Struct, kw_only=True):
    id: str
    credential: str
    members: list[_Member]
    state: str = "in_progress"
    polls: int = 0
    told: dict[str, list[bytes]] = field(default_factory=dict)
    problem: str = ""


class _Asked(Struct, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: str
    completion_window: str


class _Line(Struct, forbid_unknown_fields=True):
    custom_id: str
    method: str
    url: str
    body: Raw


class _Requests(Struct, forbid_unknown_fields=True):
    requests: list[_Member]


class Batches:
    """The files and batches of one fake upstream; a credential sees its own."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._files: dict[tuple[str, str], bytes] = {}
        self._batches: dict[tuple[str, str], _Batch] = {}

    def answer(self, ask: Ask, credential: str) -> tuple[int, bytes] | None:
        """Status and body of the answer; None for a path of another kind."""
        wire: Wire = anthropic if ask.path.startswith(ANTHROPIC) else openai
        try:
            return self._answer(ask, credential)
        except KeyError as missing:
            return 404, wire.error(404, f"No such object: {missing}")
        except (ValueError, UnicodeDecodeError) as fault:
            return 400, wire.error(400, f"fakeup: {fault}")

    def _answer(self, ask: Ask, credential: str) -> tuple[int, bytes] | None:
        root, _, rest = ask.path.removeprefix("/v1/").partition("/")
        match ask.method, root, rest.split("/") if rest else []:
            case "POST", "files", []:
                return 200, self._upload(ask, credential)
            case "GET", "files", [file_id, "content"]:
                return 200, self._files[credential, file_id]
            case "POST", "batches", []:
                return 200, _openai(self._open_file(ask, credential))
            case "GET", "batches", [batch_id]:
                return 200, _openai(self._poll(self._batches[credential, batch_id], self._finish_openai))
            case "POST", "batches", [batch_id, "cancel"]:
                return 200, _openai(self._cancel(credential, batch_id))
            case "POST", "messages", ["batches"]:
                return 200, _anthropic(self._open_requests(ask, credential))
            case "GET", "messages", ["batches", batch_id]:
                return 200, _anthropic(self._poll(self._batches[credential, batch_id], self._finish_anthropic))
            case "GET", "messages", ["batches", batch_id, "results"]:
                return 200, self._files[credential, f"{batch_id}-out"]
            case "POST", "messages", ["batches", batch_id, "cancel"]:
                return 200, _anthropic(self._cancel(credential, batch_id))
        return None

    def _upload(self, ask: Ask, credential: str) -> bytes:
        fields = _form(ask)
        if fields.get("purpose") != b"batch":
            raise ValueError("purpose: must be batch")
        file_id = f"file-{len(self._files)}"
        self._files[credential, file_id] = fields["file"]
        told = {"object": "file", "bytes": len(fields["file"]), "created_at": 1_700_000_000, "status": "processed"}
        return msgspec.json.encode({"id": file_id, "purpose": "batch", "filename": "batch.jsonl", **told})

    def _open_file(self, ask: Ask, credential: str) -> _Batch:
        asked = msgspec.json.decode(ask.body, type=_Asked)
        if asked.endpoint != openai.PATH or asked.completion_window != "24h":
            raise ValueError("endpoint or completion_window: not supported")
        told = [
            msgspec.json.decode(line, type=_Line) for line in self._files[credential, asked.input_file_id].splitlines()
        ]
        batch = self._add(credential, "batch_", [_Member(line.custom_id, line.body) for line in told])
        batch.state = "failed"
        if any((line.method, line.url) != ("POST", openai.PATH) for line in told):
            batch.problem = "mismatched_endpoint"
        elif len({line.custom_id for line in told}) < len(told):
            batch.problem = "duplicate_custom_id"
        elif any(json.loads(bytes(line.body)).get("stream") for line in told):
            batch.problem = "streaming_not_supported"
        elif any("[[batch refused]]" in bytes(line.body).decode() for line in told):
            batch.problem = "token_limit_exceeded"
        else:
            batch.state = "validating"
        return batch

    def _open_requests(self, ask: Ask, credential: str) -> _Batch:
        members = msgspec.json.decode(ask.body, type=_Requests).requests
        names = [member.custom_id for member in members]
        if len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
            raise ValueError("requests: custom_id must be unique and match ^[a-zA-Z0-9_-]{1,64}$")
        if any(json.loads(bytes(member.params)).get("stream") for member in members):
            raise ValueError("requests: stream is not supported in batches")
        return self._add(credential, "msgbatch_", members)

    def _add(self, credential: str, prefix: str, members: list[_Member]) -> _Batch:
        batch = _Batch(id=f"{prefix}{len(self._batches)}", credential=credential, members=members)
        self._batches[credential, batch.id] = batch
        return batch

    def _poll(self, batch: _Batch, finish: Callable[[_Batch, bool], None]) -> _Batch:
        batch.polls += 1
        if batch.state == "cancelling":
            finish(batch, True)
        elif batch.state in ("validating", "in_progress"):
            batch.state = "in_progress"
            if batch.polls >= _POLLS:
                finish(batch, False)
        return batch

    def _cancel(self, credential: str, batch_id: str) -> _Batch:
        batch = self._batches[credential, batch_id]
        if batch.state not in ("validating", "in_progress"):
            raise ValueError(f"Cannot cancel a batch with status {batch.state}.")
        batch.state = "cancelling"
        return batch

    def _finish_openai(self, batch: _Batch, cancelled: bool) -> None:
        batch.state = "cancelled" if cancelled else "completed"
        batch.told = {"out": [], "err": []}
        for member in reversed(batch.members):
            outcome = None if cancelled else self._run(openai, bytes(member.params), batch.credential)
            fate = "cancelled" if outcome is None else outcome.script.batch
            response: Any = None
            error: Any = None
            if outcome is None or fate == "expired":
                error = {"code": f"batch_{fate}", "message": "This request could not be executed in time."}
            else:
                response = {"status_code": outcome.status, "request_id": "req_b", "body": Raw(outcome.body)}
            line = {"id": "batch_req_1", "custom_id": member.custom_id, "response": response, "error": error}
            whole = response is not None and response["status_code"] == 200
            batch.told["out" if whole else "err"] += _lines(msgspec.json.encode(line), fate)
        for name, lines in batch.told.items():
            self._files[batch.credential, f"{batch.id}-{name}"] = b"".join(lines)

    def _finish_anthropic(self, batch: _Batch, cancelled: bool) -> None:
        batch.state = "ended"
        lines: list[bytes] = []
        for member in reversed(batch.members):
            outcome = None if cancelled else self._run(anthropic, bytes(member.params), batch.credential)
            fate = "canceled" if outcome is None else outcome.script.batch
            if outcome is None or fate == "expired":
                result: dict[str, Any] = {"type": fate}
            elif outcome.status == 200:
                result = {"type": "succeeded", "message": Raw(outcome.body)}
            else:
                result = {"type": "errored", "error": Raw(outcome.body)}
            lines += _lines(msgspec.json.encode({"custom_id": member.custom_id, "result": result}), fate)
        batch.told = {"canceled" if cancelled else "out": lines}
        self._files[batch.credential, f"{batch.id}-out"] = b"".join(lines)


def _lines(line: bytes, fate: str | None) -> list[bytes]:
    odd = {"missing": [], "twice": [line + b"\n"] * 2, "garbled": [line[:-9] + b"\n"]}
    return odd.get(fate or "", [line + b"\n"])


def _openai(batch: _Batch) -> bytes:
    faults = [{"code": batch.problem, "message": "scripted", "param": None, "line": 1}]
    told = {
        "id": batch.id,
        "object": "batch",
        "endpoint": openai.PATH,
        "input_file_id": "file-0",
        "completion_window": "24h",
        "created_at": 1_700_000_000,
        "status": batch.state,
        "errors": {"object": "list", "data": faults} if batch.problem else None,
        "output_file_id": f"{batch.id}-out" if batch.told.get("out") else None,
        "error_file_id": f"{batch.id}-err" if batch.told.get("err") else None,
    }
    return msgspec.json.encode(told)


def _anthropic(batch: _Batch) -> bytes:
    ended, size = batch.state == "ended", len(batch.members)
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    counts["processing" if not ended else "canceled" if "canceled" in batch.told else "succeeded"] = size
    told = {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": {"cancelling": "canceling"}.get(batch.state, batch.state),
        "request_counts": counts,
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "ended_at": "2026-01-01T01:00:00Z" if ended else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"{ANTHROPIC}/{batch.id}/results" if ended else None,
    }
    return msgspec.json.encode(told)


def _form(ask: Ask) -> dict[str, bytes]:
    """The fields of a form with a file."""
    _, _, border = ask.headers.get("content-type", "").partition("boundary=")
    if not border:
        raise ValueError("a form with a boundary is wanted")
    fields: dict[str, bytes] = {}
    for part in ask.body.split(b"--" + border.strip('"').encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found = re.search(rb'name="(\w+)"', head)
        fields[found.group(1).decode() if found else ""] = content.removesuffix(b"\r\n")
    return fields
