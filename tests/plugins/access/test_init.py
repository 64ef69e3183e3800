"""`asahi init`, the file `.env`, and starts that are refused because they would not be safe."""

import re
from pathlib import Path

import pytest
from tests.e2e.served import started
from tests.plugins.access.shell import asahi
from tests.plugins.access.test_http import Client

from asahi_kernel.app import create_app
from asahi_kernel.config import decode, read
from asahi_kernel.envfile import read_env_file
from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.secrecy import weakness
from asahi_kernel.settings import Settings


def test_a_gateway_begun_by_init_serves_on_a_public_bind_with_its_first_key(tmp_path):
    ran = asahi(tmp_path, "init")
    assert ran.returncode == 0
    env = tmp_path / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    text = env.read_text()
    key = re.search(r"^ASAHI_BOOTSTRAP_ADMIN_KEY=(ask_\w{12}_\w{49})$", text, re.M)[1]
    assert re.search(r"^ASAHI_ENCRYPTION_KEY=[0-9a-f]{64}$", text, re.M)
    assert key not in ran.stdout
    command = ("-m", "asahi_kernel.cli", "serve", "--host", "0.0.0.0", "--port", "0")
    with started(tmp_path, *command) as served:
        call = Client(served.url.replace("0.0.0.0", "127.0.0.1"))
        assert call(key, "POST", "/infer", {"prompt": "hello"})[0] == 200
        assert call("garbage", "POST", "/infer", {"prompt": "hello"})[0] == 401
        assert call(key, "GET", "/health")[1]["profile"] == "production"
        assert not (tmp_path / "data/keys/encryption.key").exists()


def test_init_overwrites_nothing(tmp_path):
    (tmp_path / ".env").write_text("A=1\n")
    ran = asahi(tmp_path, "init")
    assert (tmp_path / ".env").read_text() == "A=1\n"
    config = (tmp_path / "config/config.yaml").read_text()
    assert "was there already" in ran.stdout
    (tmp_path / "config/config.yaml").write_text("mine: 1\n")
    assert asahi(tmp_path, "init").returncode == 0
    assert (tmp_path / "config/config.yaml").read_text() == "mine: 1\n"
    assert all(line.startswith("#") or not line for line in config.splitlines())


def test_every_example_in_the_file_is_configuration(tmp_path):
    asahi(tmp_path, "init")
    lines = (tmp_path / "config/config.yaml").read_text().splitlines()[1:]
    (tmp_path / "whole.yaml").write_text("\n".join(line.removeprefix("#") for line in lines))
    env = dict.fromkeys(("DATABASE_URL", "ANTHROPIC_API_KEY", "GROQ_API_KEY"), "postgresql://x/y")
    found = read(tmp_path / "whole.yaml", env)
    assert found.api.require_https
    assert set(found.providers) == {"anthropic", "groq"}


def test_the_environment_wins_over_the_file_and_bad_lines_are_told(tmp_path):
    path = tmp_path / ".env"
    path.write_text("# c\n\nexport A=1\nB='two words'\nC=\nD=x=y\n")
    found = {"A": "0"}
    read_env_file(path, found)
    assert found == {"A": "0", "B": "two words", "C": "", "D": "x=y"}
    path.write_text("no equals sign\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_env_file(path, {})
    read_env_file(tmp_path / "absent", {})


GOOD = "k3Jh9sdkPq2LmZx8Vw4RtYu7"


def unsafe(tmp_path):
    """Starts that must not happen: configuration, environment, and what is done before."""
    local = {"storage": {"type": "sqlite", "path": str(tmp_path / "a.db")}}
    public = {"api": {"host": "0.0.0.0"}}
    return {
        "open to everybody": ({**public, "auth": "open"}, {}, None),
        "a short first key": ({**local, "auth": "keys"}, {"ASAHI_BOOTSTRAP_ADMIN_KEY": "short"}, None),
        "a first key of one letter": ({**local, "auth": "keys"}, {"ASAHI_BOOTSTRAP_ADMIN_KEY": "a" * 40}, None),
        "an example as first key": (
            {**local, "auth": "keys"},
            {"ASAHI_BOOTSTRAP_ADMIN_KEY": "change-me-before-production-123"},
            None,
        ),
        "no static key": ({"auth": "static"}, {}, None),
        "a short static key": ({"auth": {"type": "static", "keys": [{"key": "abc"}]}}, {}, None),
        "an example as static key": (
            {"auth": {"type": "static", "keys": [{"key": "insecure-0123456789-abcdef"}]}},
            {},
            None,
        ),
        "a short encryption key": ({**local, "encryption": {"key": "abc"}}, {}, None),
        "an encryption key of one digit": ({**local, "encryption": {"key": "0" * 64}}, {}, None),
        "an example as encryption key": ({**local, "encryption": {"key": "placeholder-placeholder-key"}}, {}, None),
        "a short pepper": ({**local, "auth": {"type": "keys", "peppers": "v1:abc"}}, {}, None),
        "a checkpoint key that is none": ({**local, "encryption": {"checkpoint_key": "abc"}}, {}, None),
        "an encryption key that others may read": (local, {}, "encryption.key"),
        "a checkpoint key that others may read": (local, {}, "checkpoint.key"),
        "everybody a proxy": ({"api": {"trusted_proxies": ["0.0.0.0/0"]}}, {}, None),
        "a proxy by name": ({"api": {"trusted_proxies": ["proxy.example"]}}, {}, None),
        "any origin": ({"api": {"cors_origins": ["*"]}}, {}, None),
        "a pattern of origins": ({"api": {"cors_origins": ["https://*.example.com"]}}, {}, None),
        "the origin null": ({"api": {"cors_origins": ["null"]}}, {}, None),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("name", unsafe(Path()))
async def test_an_unsafe_start_is_refused(name, tmp_path, monkeypatch):
    """C19: 0 of n."""
    tree, env, readable = unsafe(tmp_path)[name]
    monkeypatch.delenv("ASAHI_BOOTSTRAP_ADMIN_KEY", raising=False)
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    folder = tmp_path / "keys"
    if readable:
        folder.mkdir()
        (folder / readable).write_text("ab" * 32)
        (folder / readable).chmod(0o644)
    encryption = {"dir": str(folder), **tree.get("encryption", {})}
    tree = {"profile": "production", "storage": "memory", **tree, "encryption": encryption}
    with pytest.raises(ConfigError) as told:
        await start(tree)
    assert len(told.value.message) > 30


@pytest.mark.anyio
async def test_a_safe_start_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("ASAHI_BOOTSTRAP_ADMIN_KEY", GOOD)
    tree = {"profile": "production", "api": {"host": "0.0.0.0", "cors_origins": ["https://a.example:8443"]}}
    storage = {"type": "sqlite", "path": str(tmp_path / "a.db")}
    await start({**tree, "storage": storage, "auth": "keys", "encryption": {"dir": str(tmp_path / "keys")}})


async def start(tree):
    settings, plugins = decode(tree, Settings, "test"), load_plugins()
    gateway = Gateway(settings)
    create_app(settings, plugins, gateway)
    async with running(gateway, plugins):
        pass


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_an_env_file_that_others_may_read_stops_the_command(tmp_path, mode):
    """C19."""
    env = tmp_path / ".env"
    env.write_text(f"ASAHI_BOOTSTRAP_ADMIN_KEY={GOOD}\n")
    env.chmod(mode)
    ran = asahi(tmp_path, "check")
    assert ran.returncode == 3
    assert "chmod 600" in ran.stderr
    assert GOOD not in ran.stderr + ran.stdout


def test_a_random_text_is_no_weak_secret():
    assert weakness(GOOD) == ""
    assert all(weakness(text) for text in ("", "short", "a" * 40, "abababababababababababababab", "Change_Me!" * 4))
