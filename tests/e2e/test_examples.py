"""The examples as a third party has them: built, installed into a fresh environment, configured, called over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ("asahi-shout", "asahi-office-hours")


def find_uv() -> str:
    """uv as `make setup` leaves it; without it nothing here can be tested."""
    found = os.environ.get("UV") or shutil.which("uv")
    uv = Path(found) if found else ROOT / ".tools" / "uv"
    assert uv.exists(), "uv is neither on PATH nor in .tools: run `make setup`"
    return str(uv)


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without any of Asahi's variables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ASAHI_")}
    plain = {name: value for name, value in plain.items() if name not in {"OPENAI_API_KEY", "PORT", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=plain | more, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of the kernel and of each example, built from copies so that the tree stays clean."""
    made = tmp_path_factory.mktemp("wheels")
    built = {}
    for source in (ROOT / "asahi_kernel", *(ROOT / "examples" / name for name in EXAMPLES)):
        copy = made / "src" / source.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "dist", "*.egg-info"))
        run(find_uv(), "build", "--wheel", "--quiet", "--out-dir", made / source.name, copy, cwd=made)
        (built[source.name],) = (made / source.name).glob("*.whl")
    return built


def environment(folder: Path, *wheels: Path) -> Path:
    """A fresh virtual environment with these wheels; the path of its `asahi`."""
    run(find_uv(), "venv", "--quiet", "--no-project", "--python", ">=3.11", folder, cwd=folder.parent)
    binaries = folder / ("Scripts" if sys.platform == "win32" else "bin")
    install = ("pip", "install", "--quiet", "--python", binaries / "python")
    run(find_uv(), *install, *map(str, wheels), cwd=folder.parent)
    return binaries / "asahi"


@pytest.fixture(scope="module")
def asahi(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`asahi` of an environment with the kernel and both examples."""
    return environment(tmp_path_factory.mktemp("whole") / "venv", *wheels.values())


@contextmanager
def serving(asahi: Path, config: Path, cwd: Path) -> Iterator[str]:
    """A served gateway; its address."""
    command = [asahi, "serve", "--port", "0", "--config", config]
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "Asahi listens on " in line:
                    yield line.split()[3]
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.terminate()
            process.stderr.read()


def ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def test_the_shout_provider_answers_over_http(asahi: Path, tmp_path: Path) -> None:
    config = ROOT / "examples/asahi-shout/shout.yaml"
    with serving(asahi, config, tmp_path) as url:
        answer = ask(f"{url}/infer", {"prompt": "shout"})
        assert (answer["response"], answer["model_used"], answer["provider"]) == ("SHOUT!", "loud", "shout")
        chat = {"model": "auto", "messages": [{"role": "user", "content": "louder"}]}
        assert ask(f"{url}/v1/chat/completions", chat)["choices"][0]["message"]["content"] == "LOUDER!"
        assert ask(f"{url}/infer", {"prompt": "shout"})["cache_hit"] is True


def test_its_options_come_from_its_table(asahi: Path, tmp_path: Path) -> None:
    config = tmp_path / "asahi.yaml"
    config.write_text((ROOT / "examples/asahi-shout/shout.yaml").read_text().replace('"!"', '"?!"'))
    with serving(asahi, config, tmp_path) as url:
        assert ask(f"{url}/infer", {"prompt": "what"})["response"] == "WHAT?!"


def test_the_rules_verdict_can_be_read_back(asahi: Path, tmp_path: Path) -> None:
    """Opening and closing at one hour means closed all day."""
    config = tmp_path / "asahi.yaml"
    example = (ROOT / "examples/asahi-office-hours/office-hours.yaml").read_text()
    config.write_text(example.replace("opens: 7, closes: 19", "opens: 7, closes: 7"))
    with serving(asahi, config, tmp_path) as url:
        answer = ask(f"{url}/infer", {"prompt": "Hello", "quality_threshold": 4.0})
        assert answer["model_used"] == "claude-3-5-sonnet"
        told = ask(f"{url}/explain/{answer['request_id']}")
        (verdict,) = [each for each in told["rules"] if each["rule"] == "office_hours"]
        reasons = {each["model"]: each["reason"] for each in verdict["dropped"]}
        assert reasons == dict.fromkeys(("gpt-4-turbo", "claude-opus-4"), "answers in office hours only")
        assert verdict["order"] == ["claude-3-5-sonnet"]


def test_a_misspelt_option_stops_the_start(asahi: Path, tmp_path: Path) -> None:
    config = tmp_path / "asahi.yaml"
    config.write_text("auth: open\nproviders: {shout: {marc: x}}\n")
    ran = subprocess.run([asahi, "check", "--config", config], capture_output=True, text=True, check=False)
    assert ran.returncode == 3
    assert "providers.shout: unknown key 'marc'. Did you mean 'mark'?" in ran.stderr


def test_the_kernel_alone_is_complete(wheels: dict[str, Path], tmp_path: Path) -> None:
    asahi = environment(tmp_path / "venv", wheels["asahi_kernel"])
    plugins = json.loads(run(asahi, "plugins", "--json", cwd=tmp_path).stdout)
    assert [label.split()[0] for label in plugins["plugins"]] == ["'builtins'"]
    assert plugins["broken"] == {}
    assert "the configuration is good: development profile" in run(asahi, "check", cwd=tmp_path).stdout
    schema = json.loads(run(asahi, "schema", cwd=tmp_path).stdout)
    assert schema["$defs"]["Settings"]["properties"]["api"]
    assert set(schema["x-plugins"]["providers"]) == {"mock"}
    assert run(asahi, "infer", "Hello", cwd=tmp_path).stdout.startswith("Mock answer")
