"""The file `.env` of the folder that a command runs in: variables for those that the environment does not have."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path

from asahi_kernel.errors import ConfigError

_LINE = re.compile(r"(?:export )?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_SECRET = re.compile(r"ASAHI_\w*(?:KEYS?|PEPPERS)|\w+_API_KEY")


def read_env_file(path: Path, environment: MutableMapping[str, str]) -> None:
    """Add what the file says. Raises `ConfigError` when others may read the secrets in it, or a line is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: cannot be read; it must be text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise ConfigError(f"{path}: line {number} must be NAME=value, or a comment")
        name, value = found[1], _bare(found[2].strip())
        if value and _SECRET.fullmatch(name) and path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read the secrets in this file; run `chmod 600 {path}`")
        environment.setdefault(name, value)


def _bare(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
