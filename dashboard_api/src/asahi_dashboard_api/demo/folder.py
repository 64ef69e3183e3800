"""The folder of a demonstration: a gateway's whole data and configuration, apart from every other's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asahi_kernel.config import read
from asahi_kernel.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asahi_kernel.settings import Settings

MARK, CONFIG, KEY, _DATABASE = "demo.json", "config.yaml", "admin.key", "asahi.db"
_MEMORY, _ENOUGH = Path("/dev/shm"), 2 << 30  # noqa: S108 - a folder of its own is made in it
_TOLD = (
    "Demonstration data made by `asahi demo`: the company is invented, and every answer came from the mock provider."
)
#: While a month passes in a minute: what waits in real seconds waits less, and alerts are looked for by the hour.
_HURRIED = {
    "journal.mode": "memory",
    "services.alerts.interval_s": 3_600,
    "auth.identity_ttl_s": 300,
    "providers.mock.backoff_base_s": 0.01,
    "providers.mock.backoff_cap_s": 0.02,
}


class Mark(Struct, frozen=True, kw_only=True):
    """What makes a folder a demonstration's. `complete` says whether the month was lived to its end."""

    about: str = _TOLD
    made_at: datetime
    days: int
    requests: int
    seed: int
    complete: bool = False


class Folder:
    """Refuses to touch what a demonstration has not made."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / CONFIG

    @property
    def mark(self) -> Mark | None:
        """What was made here; None where nothing was, or not by a demonstration."""
        try:
            return msgspec.json.decode((self.path / MARK).read_bytes(), type=Mark)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError):
            raise ConfigError(f"{self.path / MARK}: cannot be read as the mark of a demonstration") from None

    def begin(self, mark: Mark, *, again: bool, semantic: bool) -> None:
        """An empty folder with a mark and a configuration. Only what has a mark is removed, and only `again`."""
        known = self.mark
        if known is None and self.path.exists() and any(self.path.iterdir()):
            raise ConfigError(
                f"{self.path} holds something that no demonstration made, perhaps a real ledger: choose an empty folder"
            )
        if known is not None:
            if known.complete and not again:
                raise ConfigError(
                    f"{self.path} holds a demonstration already: --serve shows it, --again makes it anew in its place"
                )
            shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(MARK, msgspec.json.format(msgspec.json.encode(mark), indent=2))
        self._write(CONFIG, self._configuration(semantic).encode())

    def end(self, mark: Mark, key: str) -> None:
        """The month was lived to its end; `key` is the admin's, for the login."""
        self._write(KEY, f"{key}\n".encode())
        done = msgspec.structs.replace(mark, complete=True)
        self._write(MARK, msgspec.json.format(msgspec.json.encode(done), indent=2))

    def admin_key(self) -> str:
        """What the dashboard's login asks for."""
        try:
            return (self.path / KEY).read_text("utf-8").strip()
        except OSError:
            raise ConfigError(f"{self.path / KEY} cannot be read; `asahi demo --again` makes a new one") from None

    def settings(self, overrides: Mapping[str, object] | None = None) -> Settings:
        """What the folder's file says, whatever the environment says."""
        return read(self.config, {}, dict(overrides or {}))

    @contextmanager
    def hurried(self) -> Iterator[Settings]:
        """The same for living through the month. The database is written where no commit waits for a disk, and put
        into the folder at the end: what a demonstration loses in a power cut can be made again."""
        with tempfile.TemporaryDirectory(prefix="asahi-demo-", dir=_memory()) as workshop:
            yield self.settings({**_HURRIED, "storage.path": f"{workshop}/{_DATABASE}"})
            for file in Path(workshop).glob(f"{_DATABASE}*"):
                shutil.move(file, self.path / file.name)

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

    def _configuration(self, semantic: bool) -> str:
        tree = {
            "profile": "production",
            "auth": {"type": "keys"},
            "api": {"host": "127.0.0.1", "rate_limit_per_minute": 0},
            "providers": {"mock": {"latency_share": 0.06}},
            "pricing": {"baseline_model": "gpt-4-turbo"},
            "savings": {"holdout_rate": 0.02},
            "storage": {"type": "sqlite", "path": str(self.path / _DATABASE)},
            "journal": {"dir": str(self.path / "journal")},
            "encryption": {"dir": str(self.path / "keys")},
            "governance": {"audit_dir": str(self.path / "audit"), "default_policy": {"max_requests_per_day": None}},
        }
        if semantic:
            tree["cache_tiers"] = {"semantic": {"path": str(self.path / "vectors")}}
        lines = (f"{name}: {msgspec.json.encode(table).decode()}" for name, table in tree.items())
        return "\n".join((f"# {_TOLD}", *lines, ""))


def _memory() -> Path | None:
    """A folder in memory with space enough; None where there is none, and the usual one has to do."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH:
        return _MEMORY
    return None


def new_mark(days: int, requests: int, seed: int) -> Mark:
    """The mark of a demonstration that begins now."""
    return Mark(made_at=datetime.now(UTC).replace(microsecond=0), days=days, requests=requests, seed=seed)
