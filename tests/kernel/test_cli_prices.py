"""`asahi prices` in this process."""

import json

import pytest
from click.testing import CliRunner

from asahi_kernel.cli import cli


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in {"OPENAI_API_KEY": "sk-test", "ASAHI_AUTH": "open"}.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli, ["prices", *arguments])


def test_each_price_is_listed_with_its_source(run):
    rows = json.loads(run("list", "--json").output)
    by_name = {row["model"]: row for row in rows}
    assert by_name["gpt-4o"]["output"] > by_name["gpt-4o"]["input"] > by_name["gpt-4o"]["cache_read"] > 0
    assert all(row["source"].startswith("genai-prices") for row in rows)
    assert "gpt-4o" in run("list").output


def test_no_change_is_exit_0_and_a_change_is_exit_1_and_told(run, tmp_path):
    listed = json.loads(run("list", "--json").output)
    same = tmp_path / "same.json"
    same.write_text(json.dumps(listed))
    assert run("diff", str(same)).exit_code == 0
    listed[0]["input"] *= 2
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(listed[:-1]))
    result = run("diff", str(changed))
    assert result.exit_code == 1
    assert "-50.0 %" in result.output
    assert f"{listed[-1]['model']}: input unknown ->" in result.output


def test_something_else_than_a_list_is_refused(run, tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    assert run("diff", str(other)).exit_code == 2
