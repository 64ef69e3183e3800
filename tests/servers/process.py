"""A server process of the tests: on a free port of the loopback, gone when the tests are gone."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

_START_S = 30.0
_STOP_S = 10.0
_PR_SET_PDEATHSIG = 1


class NotStarted(Exception):
    """The server could not be started; the message has its last words."""


class Server:
    """A process and the folder of its data. `freeze`, `kill` and `restart` are for tests that break things."""

    def __init__(self, command: Callable[[int], Sequence[str]], alive: Callable[[int], bool], folder: Path) -> None:
        self._command = command
        self._alive = alive
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers. A predecessor's remains may refuse the first attempts."""
        deadline = time.monotonic() + _START_S
        while True:
            self.process = _spawn(self._command(self.port), self.folder)
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    break
                if self._alive(self.port):
                    return
                time.sleep(0.02)
            else:
                self.kill()
            if time.monotonic() >= deadline:
                raise NotStarted(self.log())
            time.sleep(0.2)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None and self.process.poll() is None:
            self.resume()
            self.process.send_signal(how)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """Stop, and remove the data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL to all of its processes: what was not written is lost, as in a crash."""
        if self.process is not None and self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def restart(self) -> None:
        """Come back on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Take connections and bytes, and never answer."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-2_000:] if path.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        """To the process and its children, which lead groups of their own in PostgreSQL."""
        assert self.process is not None
        for pid in [self.process.pid, *_children(self.process.pid)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def run(command: Sequence[str], folder: Path) -> None:
    """A command that ends by itself."""
    process = _spawn(command, folder)
    if process.wait(_START_S * 2):
        raise NotStarted((folder / "log").read_text(errors="replace")[-2_000:])


def new_folder(name: str) -> Path:
    """A folder of its own that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix=f"asahi-{name}-"))
    if os.getuid() == 0:
        os.chown(folder, *_nobody())
    return folder


def package_folder(name: str) -> Path | None:
    """Where an installed package is, without importing it."""
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def reachable(path: Path, *, copying: Sequence[Path], to: Path) -> Path:
    """The binary, if the server's user can run it where it is; else that of a copy of these folders."""
    if os.getuid() != 0 or _runs(path):
        return path
    parent = copying[0].parent
    for each in copying:
        shutil.copytree(each, to / each.relative_to(parent), symlinks=True)
    return to / path.relative_to(parent)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _runs(path: Path) -> bool:
    try:
        return subprocess.run([path, "--version"], **_identity(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _spawn(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            preexec_fn=_die_with_parent,
            **_identity(),
        )


def _identity() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    user, group = _nobody()
    return {"user": user, "group": group, "extra_groups": []}


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def _die_with_parent() -> None:
    """Linux ends the server even where the tests are killed by force. Elsewhere a clean end must do."""
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored, and inherited, where a shell runs it in the background
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
    except (OSError, AttributeError):
        return


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found
