"""How errors are told on OpenAI's routes."""

from __future__ import annotations

from asahi_kernel.errors import AsahiError, NotFound
from asahi_kernel.registry import UnknownModel
from asahi_kernel.wire import openai


class OpenAIErrors:
    """The part that OpenAI's wires share."""

    error_type = b"application/json"

    def told(self, error: AsahiError) -> AsahiError:
        return unknown_model(error) if isinstance(error, UnknownModel) else error

    def error(self, error: AsahiError, request_id: str) -> bytes:
        return openai.error(error)


def unknown_model(error: UnknownModel) -> NotFound:
    """As the vendors' clients expect it."""
    return NotFound(error.message, code="model_not_found", param="model")
