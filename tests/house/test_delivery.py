"""The image, the services around it, and continuous integration: as far as files can tell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.house.tree import ROOT, packages

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DIGEST = re.compile(r"[\w./-]+@[0-9a-f]{40}")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: each instruction with its arguments, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def of(name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions() if instruction == name]


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        yield from job["steps"]


class TestCompose:
    def test_it_starts_asahi_with_its_services(self) -> None:
        images = {name: service["image"] for name, service in COMPOSE["services"].items()}
        assert images == {"asahi": "asahi", "postgres": "postgres:16-alpine", "redis": "redis:7-alpine"}

    @pytest.mark.parametrize(("name", "asked"), [("postgres", "pg_isready -U asahi"), ("redis", "redis-cli ping")])
    def test_a_service_says_when_it_is_healthy(self, name: str, asked: str) -> None:
        health = COMPOSE["services"][name]["healthcheck"]
        assert " ".join(health["test"][1:]) == asked
        assert (health["interval"], health["timeout"], health["retries"]) == ("5s", "3s", 5)

    def test_asahi_waits_for_both(self) -> None:
        waits = COMPOSE["services"]["asahi"]["depends_on"]
        assert waits == {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}

    def test_the_admin_key_is_required_and_written_nowhere(self) -> None:
        key = COMPOSE["services"]["asahi"]["environment"]["ASAHI_BOOTSTRAP_ADMIN_KEY"]
        assert key.startswith("${ASAHI_BOOTSTRAP_ADMIN_KEY:?")

    def test_there_is_one_worker_while_the_cache_is_in_memory(self) -> None:
        assert COMPOSE["services"]["asahi"]["environment"]["ASAHI_API__WORKERS"] == "1"

    def test_only_asahi_is_reachable_from_elsewhere(self) -> None:
        for name, service in COMPOSE["services"].items():
            for port in service.get("ports", ()):
                assert name == "asahi" or port.startswith("127.0.0.1:")

    def test_volumes_are_declared(self) -> None:
        mounted = {volume.split(":")[0] for each in COMPOSE["services"].values() for volume in each["volumes"]}
        assert mounted == set(COMPOSE["volumes"])


class TestImage:
    def test_it_has_a_builder_and_a_runtime_of_one_base(self) -> None:
        assert of("FROM") == ["node:20-slim AS pages", "python:3.12-slim AS builder", "python:3.12-slim"]

    def test_the_pages_are_built_from_their_lock_and_taken_into_their_package(self) -> None:
        assert "npm ci --no-audit --no-fund" in of("RUN")
        assert "--from=pages /build/out dashboard_api/src/asahi_dashboard_api/_ui" in of("COPY")

    def test_dependencies_come_from_the_lock(self) -> None:
        (sync,) = [run for run in of("RUN") if run.startswith("uv sync")]
        assert {"--locked", "--no-dev", "--no-editable"} <= set(sync.split())
        assert any("uv.lock" in arguments for arguments in of("COPY"))

    def test_it_does_not_run_as_root(self) -> None:
        names = [instruction for instruction, _ in instructions()]
        assert of("USER") == ["asahi"]
        assert names.index("USER") > max(index for index, name in enumerate(names) if name in {"RUN", "COPY"})

    def test_it_serves_on_port_8000_to_everybody(self) -> None:
        assert of("EXPOSE") == ["8000"]
        assert json.loads(of("CMD")[0]) == ["asahi", "serve", "--host", "0.0.0.0"]

    def test_what_it_copies_exists_and_is_not_ignored(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
        for arguments in of("COPY"):
            if not arguments.startswith("--from"):
                for name in arguments.split()[:-1]:
                    assert (ROOT / name).exists(), name
                    assert name not in ignored or f"!{name}" in ignored

    def test_every_package_is_copied(self) -> None:
        copied = " ".join(of("COPY")).split()
        assert {package.folder.relative_to(ROOT).parts[0] for package in packages()} <= set(copied)

    @pytest.mark.parametrize("name", [".env", ".git", ".venv", "data", "tests", "docs"])
    def test_what_does_not_belong_is_ignored(self, name: str) -> None:
        assert name in (ROOT / ".dockerignore").read_text("utf-8").split()

    def test_the_health_check_sees_life_and_death(self, tmp_path: Path) -> None:
        """The command of HEALTHCHECK, run against a served gateway and then against nothing."""
        (check,) = of("HEALTHCHECK")
        assert check.startswith("--interval=30s --timeout=5s --retries=3 ")
        command = [sys.executable, *json.loads(check[check.index("[") :])[1:]]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASAHI_")}
        serve = [str(Path(sys.executable).with_name("asahi")), "serve", "--port", "0", "--mock"]
        with subprocess.Popen(serve, cwd=tmp_path, env=kept, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "Asahi listens on " in line)
            env = kept | {"PORT": line.split()[3].rpartition(":")[2], "NO_PROXY": "*"}
            alive = subprocess.run(command, env=env, capture_output=True, check=False)
            process.terminate()
            process.stderr.read()
        dead = subprocess.run(command, env=env, capture_output=True, check=False)
        assert (alive.returncode, dead.returncode) == (0, 1)


class TestIntegration:
    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_actions_are_pinned_by_digest(self, path: Path) -> None:
        used = [step["uses"] for step in steps(path) if "uses" in step]
        assert used
        assert [each for each in used if not DIGEST.fullmatch(each)] == []

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_a_workflow_may_only_read(self, path: Path) -> None:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())
        assert all(step["with"]["persist-credentials"] is False for step in steps(path) if "uses" in step)

    def test_check_and_test_run_on_every_python(self) -> None:
        jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
        assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
        assert {"run": "make test"} in jobs["test"]["steps"]
        assert {"run": "make check"} in jobs["check"]["steps"]

    def test_every_package_is_installed_alone(self) -> None:
        jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
        alone = set(jobs["alone"]["strategy"]["matrix"]["package"])
        assert alone == {package.folder.relative_to(ROOT).as_posix() for package in packages()}

    def test_the_tools_of_pre_commit_are_pinned(self) -> None:
        config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
        hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
        assert {"ruff", "ruff-format", "mypy", "typos", "check-workflows", "zizmor"} <= set(hooks)
        for hook in hooks.values():
            if hook["language"] == "python":
                assert all("==" in each for each in hook["additional_dependencies"])
            else:
                assert hook["entry"].startswith(".venv/bin/")
