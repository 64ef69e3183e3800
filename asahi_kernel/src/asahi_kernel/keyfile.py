"""Key files: a secret that a host makes for itself once, and that only its owner may read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from asahi_kernel.errors import ConfigError


def once(path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds; made by the first process that comes, whole or not at all.

    Raises `ConfigError` when others may read it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this key file; run `chmod 600 {path}`")
    return path.read_bytes().strip()
