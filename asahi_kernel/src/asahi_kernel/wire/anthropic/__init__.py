"""Anthropic's wire, `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from asahi_kernel.wire.anthropic.reply import encode, error
from asahi_kernel.wire.anthropic.request import decode, decode_count
from asahi_kernel.wire.anthropic.stream import StreamEncoder

__all__ = ["StreamEncoder", "decode", "decode_count", "encode", "error"]
