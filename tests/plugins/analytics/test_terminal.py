"""`asahi report` and `asahi metrics` tell what the API tells, from storage, without a gateway."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest
from click.testing import CliRunner
from tests.plugins.analytics import kit

from asahi_kernel.cli.reporting import metrics, report, shown, sparkline
from asahi_kernel.errors import Invalid


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A configuration whose storage holds some traffic, and the traffic."""
    folder, events = tmp_path_factory.mktemp("terminal"), kit.traffic(300, seed=3, days=6)

    async def fill():
        async with kit.stored("sqlite", folder) as storage:
            for batch in kit.batches(events):
                await storage.books.post(batch)

    asyncio.run(fill())
    path = folder / "config.yaml"
    tree = {
        "storage": {"type": "sqlite", "path": str(folder / "data/asahi.db")},
        "encryption": {"key": "0123456789abcdef" * 4},
    }
    path.write_text(json.dumps(tree | {"providers": {"mock": {}}}))
    return path, events


def ran(command, *arguments, fails=False):
    result = CliRunner().invoke(command, list(arguments))
    assert (result.exit_code != 0) == fails, result.output
    return result


@pytest.mark.parametrize("name", kit.BY_NAME)
def test_every_report_prints_a_table_json_and_csv(filled, name):
    path, _ = filled
    base = (name, "--config", str(path), "--org", "here")
    told = json.loads(ran(report, *base, "--json").stdout)
    assert (set(told), told["meta"]["org_id"]) == ({"data", "meta"}, "here")
    text = ran(report, *base).stdout
    assert text.startswith(f"{name} of here, 2")
    rows = list(csv.reader(io.StringIO(ran(report, *base, "--csv").stdout)))
    assert (len(rows) > 1) == ("there is nothing yet" not in text)


def test_parameters_are_those_of_the_api(filled):
    path, events = filled
    arguments = ("cost-breakdown", "group_by=user", "period=week", "--config", str(path), "--org", "here", "--json")
    found = json.loads(ran(report, *arguments).stdout)["data"]
    wanted = sum(event.cost or 0 for event in events if (event.org_id, event.user_id) == ("here", "ann"))
    assert found["ann"] == pytest.approx(wanted / 1e9)


def test_a_series_has_a_sparkline(filled):
    path, _ = filled
    text = ran(report, "trends", "metric=requests", "--config", str(path), "--org", "here").stdout
    assert "█" in text.splitlines()[-1]
    assert sparkline([0, None, 1, 2]) == "▁ ▄█"
    assert sparkline([None]) == ""


def test_what_is_wrong_is_told(filled):
    path, _ = filled
    base = ("--config", str(path))
    assert "cost-breakdown" in ran(report, "cost-brakdown", *base, fails=True).exception.message
    error = ran(report, "trends", "metric=joy", *base, fails=True).exception
    assert isinstance(error, Invalid)
    assert "'requests'" in error.message
    assert "NAME=VALUE" in ran(report, "trends", "metric", *base, fails=True).output


def test_without_a_name_all_are_listed():
    text = ran(report).stdout
    assert all(name in text for name in kit.BY_NAME)
    assert "group_by" in text


def test_metrics_are_the_totals(filled):
    path, events = filled
    base = ("--config", str(path), "--org", "here", "--period", "all")
    found = json.loads(ran(metrics, *base, "--json").stdout)
    hand = kit.Hand([event for event in events if event.org_id == "here"])
    assert found["total_cost"] == pytest.approx(hand.cost() / 1e9)
    assert found["requests"] == hand.requests
    assert "mistral-7b" in ran(metrics, *base).stdout
    assert "one of" in ran(metrics, "--config", str(path), "--period", "year", fails=True).exception.message


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in shown([{"user": "\x1b[31mred", "cost": 1.0}])
