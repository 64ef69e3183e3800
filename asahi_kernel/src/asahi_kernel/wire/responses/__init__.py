"""OpenAI's other wire for answers, `POST /v1/responses`, without the state that its vendor keeps."""

from asahi_kernel.wire.responses.reply import encode
from asahi_kernel.wire.responses.request import decode
from asahi_kernel.wire.responses.stream import StreamEncoder

__all__ = ["StreamEncoder", "decode", "encode"]
