"""OpenAI's wire, `POST /v1/chat/completions` and `GET /v1/models`."""

from asahi_kernel.wire.openai.reply import encode, error, model, models
from asahi_kernel.wire.openai.request import decode
from asahi_kernel.wire.openai.stream import StreamEncoder

__all__ = ["StreamEncoder", "decode", "encode", "error", "model", "models"]
