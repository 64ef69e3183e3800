"""D5: a disk that is full is a clean failure. Nothing is paid for, hits are served, and it comes back by itself."""

import json
import resource
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from tests.chaos.ledger import KEY, Finding, configuration, reconcile
from tests.e2e.served import gateway, upstream

pytestmark = pytest.mark.anyio


@contextmanager
def small_disk(path, kilobytes):
    """A real file system of that size, which only root may make; None elsewhere."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)], check=False)
    try:
        yield made.returncode == 0
    finally:
        if made.returncode == 0:
            subprocess.run(["umount", "-l", str(path)], check=True)


class Filler:
    """Takes all the room there is, and gives it back: a file on the small disk, else a limit on the process."""

    def __init__(self, folder, real, pid):
        self._path, self._real, self._pid = folder / "filler", real, pid

    def fill(self):
        if not self._real:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with self._path.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4_096)):
                    pass
            except OSError:
                return

    def clear(self):
        if self._real:
            self._path.unlink()
        else:
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def ask(url, mark):
    text = f"[[fakeup: mark={mark}]] hello"
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}", "x-request-id": mark}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers)) as answer:
            return answer.status, answer.headers["x-asahi-cache"], json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("retry-after"), json.load(error)


async def test_a_full_disk_stops_what_costs_and_nothing_else(tmp_path):
    with small_disk(tmp_path / "journal", 2_048) as real, upstream(tmp_path, "--price=m=3,15") as (vendor, ledger):
        tree = configuration(tmp_path, vendor.url, {"type": "sqlite", "path": str(tmp_path / "asahi.db")})
        tree["cache"] = {"tiers": ["exact"]}  # a slower tier gives the journal time to recover between the calls
        with gateway(tmp_path, tree) as served:
            assert ask(served.url, "a")[0] == 200
            filler = Filler(tmp_path / "journal", real, served.process.pid)
            filler.fill()
            answers = [ask(served.url, f"f{number}") for number in range(400)]
            refused = [answer for answer in answers if answer[0] != 200]
            assert refused
            assert {(status, body["error"]["code"]) for status, _, body in refused} == {(503, "storage_unavailable")}
            assert all(int(retry_after) >= 1 for _, retry_after, _ in refused)
            assert ask(served.url, "a")[:2] == (200, "t1")
            filler.clear()
            deadline = time.monotonic() + 10
            while ask(served.url, f"z{time.monotonic_ns()}")[0] != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert "Traceback" not in served.printed()
        found = Finding()
        await reconcile(tree, ledger, set(), found)
        assert (found.lost, found.doubled, found.books) == ([], ["a"], "")  # `a` was also a hit
        assert found.billed >= 2


async def test_hits_alone_never_fill_the_disk(tmp_path):
    """What storage holds is no longer in the journal."""
    with upstream(tmp_path, "--price=m=3,15") as (vendor, _):
        tree = configuration(tmp_path, vendor.url, {"type": "sqlite", "path": str(tmp_path / "asahi.db")})
        with gateway(tmp_path, tree) as served:
            for _ in range(1_500):
                assert ask(served.url, "same")[0] == 200
            time.sleep(1)
            assert sum(path.stat().st_size for path in (tmp_path / "journal").glob("*.wal")) < 4 << 20
