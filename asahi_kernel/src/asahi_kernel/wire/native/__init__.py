"""Asahi's own wire, `POST /infer`."""

from asahi_kernel.wire.native.reply import encode, encode_delta, encode_done, encode_error_event, problem
from asahi_kernel.wire.native.request import decode

__all__ = ["decode", "encode", "encode_delta", "encode_done", "encode_error_event", "problem"]
