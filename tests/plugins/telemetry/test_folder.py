"""Workers share what they counted: all are added up, the dead are kept, and nothing is counted twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from asahi_kernel.errors import ConfigError
from asahi_telemetry.folder import Folder
from asahi_telemetry.tally import Gauge, Tally, encode, snapshot

KILLED = """
import os, sys
from pathlib import Path
from asahi_telemetry.folder import Folder
from asahi_telemetry.tally import Gauge, Tally, encode, snapshot

folder, tally = Folder(Path(sys.argv[1])), Tally()
folder.open()
tally.add("asahi_cost_dollars_total", ("model-a",), 5)
folder.write(encode(snapshot(tally, (Gauge("asahi_inflight", (), 1),))))
os.kill(os.getpid(), 9)
"""
NAME, LABELS = "asahi_cost_dollars_total", ("model-a",)


def opened(path, amount=None):
    folder = Folder(path)
    folder.open()
    if amount is not None:
        tally = Tally()
        tally.add(NAME, LABELS, amount)
        tally.observe("asahi_latency_ms", ("model-a", "0"), 7.0)
        folder.write(encode(snapshot(tally, (Gauge("asahi_inflight", (), 1),))))
    return folder


def seen(folder):
    tally, gauges = folder.others()
    (number,) = tally.series.get(NAME, {}).get(LABELS, [0])
    return number, sum(gauge.value for gauge in gauges)


def test_others_are_added_up_and_oneself_is_not(tmp_path):
    first, _second, _third = opened(tmp_path, 1), opened(tmp_path, 20), opened(tmp_path, 300)
    assert seen(first) == (320, 2)
    assert first.others()[0].series["asahi_latency_ms"]["model-a", "0"][1] == 2


def test_what_a_dead_worker_counted_is_kept_and_its_gauges_are_not(tmp_path):
    first, second = opened(tmp_path, 1), opened(tmp_path, 20)
    second.close()
    assert seen(first) == (20, 0)
    third = opened(tmp_path, 300)
    assert seen(first) == (320, 1)
    assert seen(third) == (21, 1)
    assert len(list(tmp_path.glob("*.counts"))) == 3, "first, third, and what is retired"


def test_a_worker_that_was_killed_is_dead(tmp_path):
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    assert ran.returncode == -9
    assert seen(opened(tmp_path)) == (5, 0)


def test_a_worker_without_a_place_is_dead(tmp_path):
    opened(tmp_path, 20).close()
    (place,) = tmp_path.glob("*.live")
    place.unlink()
    first = opened(tmp_path)
    assert seen(first) == (20, 0)
    assert list(tmp_path.glob("*.counts")) == [tmp_path / "retired.counts"]


def test_a_file_that_could_not_be_deleted_is_not_counted_twice(tmp_path):
    opened(tmp_path, 20).close()
    (left,) = tmp_path.glob("*.counts")
    kept = left.read_bytes()
    first = opened(tmp_path, 1)
    left.write_bytes(kept)  # as if the process had died between merging and deleting
    assert seen(first) == (20, 0)
    assert seen(opened(tmp_path)) == (21, 1)
    assert seen(opened(tmp_path)) == (21, 1)


def test_many_generations_leave_one_file(tmp_path):
    for _ in range(5):
        opened(tmp_path, 7).close()
    last = opened(tmp_path)
    assert seen(last) == (35, 0)
    assert len(list(tmp_path.glob("*.live"))) == 1


def test_a_broken_file_is_left_out_and_counted(tmp_path):
    _other, folder = opened(tmp_path, 20), opened(tmp_path)
    (tmp_path / "0123456789abcdef.counts").write_bytes(b"\xc1 a power cut")
    assert seen(folder) == (20, 1)
    assert folder.unreadable == 1


def test_numbers_of_another_shape_are_left_out(tmp_path):
    first, second = opened(tmp_path, 1), opened(tmp_path)
    tally = Tally()
    tally.series = {"asahi_latency_ms": {("model-a", "0"): [1, 2, 3]}, NAME: {LABELS: [4]}}
    second.write(encode(snapshot(tally)))
    assert seen(first)[0] == 4
    assert first.others()[0].series["asahi_latency_ms"] == {}


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"sinks.prometheus.dir: cannot write"):
        opened(tmp_path / "file" / "metrics")
