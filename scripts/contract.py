"""Writes the OpenAPI contract with all plugins as JSON, for whoever generates a client of it."""

import sys
from pathlib import Path

from msgspec import json

from asahi_kernel.api.contract import contract
from asahi_kernel.app import create_app
from asahi_kernel.settings import Settings


def text() -> bytes:
    """The contract, the same for the same code."""
    app = create_app(Settings(profile="development", storage="memory")).app
    return json.format(json.encode(contract(app), order="sorted"), indent=1)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(text())
