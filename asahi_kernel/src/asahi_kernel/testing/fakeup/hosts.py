"""Hosts that speak OpenAI's chat wire in their own way: what each really does differently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from asahi_kernel.testing.fakeup import openai
from asahi_kernel.testing.fakeup.generation import Answer, Call
from asahi_kernel.testing.fakeup.script import Script

_GRPC = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Host:
    """OpenAI's own way. Subclasses change the chunks of a stream, the whole answer, and the errors."""

    PATH = openai.PATH

    def decode(self, body: bytes) -> Call:
        return openai.decode(body)

    def usage(self, script: Script, answer: Answer) -> bytes | None:
        return openai.usage(script, answer)

    def reply(self, answer: Answer) -> bytes:
        return _encode(self.whole(json.loads(openai.reply(answer))))

    def frames(self, answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
        for frame, tokens in openai.frames(answer, include_usage):
            data = frame.removeprefix(b"data: ").strip()
            if data == b"[DONE]":
                yield frame, tokens
            elif (told := self.chunk(json.loads(data), answer)) is not None:
                yield b"data: %b\n\n" % _encode(told), tokens

    def error(self, status: int, message: str) -> bytes:
        return openai.error(status, message)

    def error_event(self) -> bytes:
        return openai.error_event()

    def whole(self, told: Any) -> Any:
        """An answer as the host has it."""
        return told

    def chunk(self, told: Any, answer: Answer) -> Any:
        """A chunk as the host has it; None for one that it does not send."""
        return told


class Gemini(Host):
    """Errors come in a list; answers and calls have no ids, pieces of calls no index; the last piece has the usage, and
    calls it a stop when a tool is called."""

    PATH = "/v1beta/openai/chat/completions"

    def whole(self, told: Any) -> Any:
        del told["id"]
        for choice in told["choices"]:
            for call in choice["message"].get("tool_calls", ()):
                call["id"] = ""
        return told

    def chunk(self, told: Any, answer: Answer) -> Any:
        del told["id"]
        told.pop("usage", None)
        for choice in told["choices"]:
            for call in choice["delta"].get("tool_calls", ()):
                del call["index"]
                call["id"] = ""
            if choice["finish_reason"]:
                choice["finish_reason"] = choice["finish_reason"].replace("tool_calls", "stop")
                if answer.usage is not None:
                    told["usage"] = msgspec.Raw(answer.usage)
        return told if told["choices"] else None

    def error(self, status: int, message: str) -> bytes:
        return _encode([self._error(status, message)])

    def error_event(self) -> bytes:
        return b"data: %b\n\n" % _encode(self._error(503, "The model is overloaded. Please try again later."))

    def _error(self, status: int, message: str) -> Any:
        told: dict[str, Any] = {"code": status, "message": message, "status": _GRPC.get(status, "INTERNAL")}
        if status == 429:
            told["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
        return {"error": told}


class OpenRouter(Host):
    """Comments keep the connection; reasons come twice; an error in a stream is a chunk that ends it with `error`."""

    PATH = "/api/v1/chat/completions"

    def whole(self, told: Any) -> Any:
        return _natively(told | {"provider": "Fake"})

    def chunk(self, told: Any, answer: Answer) -> Any:
        return _natively(told | {"provider": "Fake"})

    def frames(self, answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
        yield b": OPENROUTER PROCESSING\n\n", 0
        for frame, tokens in super().frames(answer, include_usage):
            yield frame, tokens
            if tokens == 0:
                yield b": OPENROUTER PROCESSING\n\n", 0

    def error(self, status: int, message: str) -> bytes:
        metadata = {"provider_name": "Fake", "raw": message}
        return _encode({"error": {"code": status, "message": message, "metadata": metadata}, "user_id": "user_1"})

    def error_event(self) -> bytes:
        ending = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        error = {"code": 502, "message": "Provider disconnected unexpectedly"}
        told = {"id": "gen-1", "object": "chat.completion.chunk", "provider": "Fake", "error": error}
        return b"data: %b\n\n" % _encode(told | {"choices": [ending]})


class VLLM(Host):
    """Errors stand flat in the body, also in a stream, which then ends as if all were well."""

    def whole(self, told: Any) -> Any:
        for choice in told["choices"]:
            choice["stop_reason"] = None
        return told | {"prompt_logprobs": None, "kv_transfer_params": None}

    def error(self, status: int, message: str) -> bytes:
        kind = "BadRequestError" if status == 400 else "InternalServerError"
        return _encode({"object": "error", "message": message, "type": kind, "param": None, "code": status})

    def error_event(self) -> bytes:
        return b"data: %b\n\ndata: [DONE]\n\n" % self.error(500, "EngineCore encountered an issue")


class Ollama(Host):
    """One id for all answers, no details of usage, errors that are a text."""

    def usage(self, script: Script, answer: Answer) -> bytes | None:
        told = super().usage(script, answer)
        return None if told is None else told.partition(b',"prompt_tokens_details"')[0] + b"}"

    def whole(self, told: Any) -> Any:
        return told | {"id": "chatcmpl-731", "system_fingerprint": "fp_ollama"}

    def chunk(self, told: Any, answer: Answer) -> Any:
        return told | {"id": "chatcmpl-731", "system_fingerprint": "fp_ollama"}

    def error(self, status: int, message: str) -> bytes:
        return _encode({"error": message})

    def error_event(self) -> bytes:
        return b"data: %b\n\n" % self.error(500, "llama runner process has terminated")


class Mistral(Host):
    """Refuses what it does not know, usage asked for among it, with an object as the message; tells usage unasked."""

    def decode(self, body: bytes) -> Call:
        asked = json.loads(body)
        if unknown := {"stream_options", "max_completion_tokens", "seed"} & asked.keys():
            raise ValueError(f"Extra inputs are not permitted: {min(unknown)}")
        return msgspec.structs.replace(openai.decode(body), include_usage=True)

    def chunk(self, told: Any, answer: Answer) -> Any:
        told.pop("usage", None)
        if any(choice["finish_reason"] for choice in told["choices"]) and answer.usage is not None:
            told["usage"] = msgspec.Raw(answer.usage)
        return told if told["choices"] else None

    def error(self, status: int, message: str) -> bytes:
        detail = {"detail": [{"type": "extra_forbidden", "loc": ["body"], "msg": message}]}
        kind = "invalid_request_error"
        return _encode({"object": "error", "message": detail, "type": kind, "param": None, "code": None})


class Groq(Host):
    """Its own member beside the usual ones, in the first and in the last chunk, with the usage once more."""

    PATH = "/openai/v1/chat/completions"

    def chunk(self, told: Any, answer: Answer) -> Any:
        if not told["choices"] and answer.usage is not None:
            told["x_groq"] = {"id": "req_1", "usage": msgspec.Raw(answer.usage)}
        return told

    def error(self, status: int, message: str) -> bytes:
        code = "rate_limit_exceeded" if status == 429 else "internal_server_error"
        return _encode({"error": {"message": message, "type": "tokens", "code": code}})


#: By name, in the words of `running(host=…)`.
HOSTS: Mapping[str, Host] = {
    "gemini": Gemini(),
    "groq": Groq(),
    "mistral": Mistral(),
    "ollama": Ollama(),
    "openrouter": OpenRouter(),
    "vllm": VLLM(),
}

_encode = msgspec.json.Encoder().encode


def _natively(told: Any) -> Any:
    for choice in told["choices"]:
        choice["native_finish_reason"] = choice["finish_reason"]
    return told
