"""Brings uv on a machine that has only Python 3.11 or newer: from PATH, by pip, or straight from the package index."""

import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

TOOLS = Path(".tools")
INDEX = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
OLDEST = (0, 8)


def main() -> None:
    if sys.version_info < (3, 11):
        sys.exit(f"Asahi needs Python 3.11 or newer; this is {platform.python_version()}")
    found = shutil.which("uv")
    if found and version(found) >= OLDEST:
        return
    target = TOOLS / "uv"
    if target.exists() and version(str(target)) >= OLDEST:
        return
    TOOLS.mkdir(exist_ok=True)
    for way in (by_pip, by_index):
        if way(target):
            print(f"uv {'.'.join(map(str, version(str(target))))} is in {target}")
            return
    sys.exit("uv could not be installed; install it from https://docs.astral.sh/uv/ and try again")


def version(command: str) -> tuple[int, ...]:
    try:
        told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0,)
    return tuple(int(part) for part in re.findall(r"\d+", told)[:3])


def by_pip(target: Path) -> bool:
    """pip into a folder of our own: no root, no virtual environment, nothing of the system touched."""
    folder = TOOLS / "pip"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "--upgrade", "uv"]
    if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
        return False
    return take(folder / "bin" / "uv", target)


def by_index(target: Path) -> bool:
    """The wheel itself, checked against the index's hash: Debian's bare python3 has neither pip nor venv."""
    request = urllib.request.Request(
        f"{INDEX.rstrip('/')}/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    system = {"linux": "manylinux", "darwin": "macosx"}.get(sys.platform, sys.platform)
    fitting = [each for each in files if system in each["filename"] and machine in each["filename"]]
    if not fitting:
        return False
    chosen = max(fitting, key=lambda each: [int(part) for part in re.findall(r"\d+", each["filename"].split("-")[1])])
    with urllib.request.urlopen(chosen["url"], timeout=300) as answer:
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() != chosen["hashes"]["sha256"]:
        sys.exit("the downloaded uv does not match the index's hash")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(each for each in archive.namelist() if each.endswith("/scripts/uv"))
        target.write_bytes(archive.read(name))
    target.chmod(target.stat().st_mode | stat.S_IEXEC)
    return True


def take(source: Path, target: Path) -> bool:
    if not source.exists():
        return False
    shutil.copy2(source, target)
    return True


if __name__ == "__main__":
    main()
