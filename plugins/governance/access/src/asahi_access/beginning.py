"""`asahi init`: the two files that a gateway on a public address needs, with fresh secrets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

_ENV = """\
# Read by `asahi` in this folder; what the environment already has wins. Keep this file to yourself, and a copy of it.
# Seals what is stored. Without it nothing that is stored can be read again.
ASAHI_ENCRYPTION_KEY={encryption}
# The first admin's key. Make everybody else's with `asahi keys create`, then take this one out.
ASAHI_BOOTSTRAP_ADMIN_KEY={bootstrap}
# Credentials of providers; without any the mock provider answers.
#ANTHROPIC_API_KEY=
#OPENAI_API_KEY=
"""
_CONFIG = """\
# Everything has a default: this file may stay as it is. `asahi check` tells what is in force.

#api:
#  host: 0.0.0.0                # the address to bind; the default is 127.0.0.1
#  require_https: true          # refuse calls over plain HTTP
#  trusted_proxies: [10.0.0.0/8]  # whose X-Forwarded-For and -Proto count
#  cors_origins: ["https://dashboard.example.com"]

#storage: {type: postgres, url: "${DATABASE_URL}"}   # the default is SQLite in data/asahi.db

#providers:
#  anthropic: {api_key: "${ANTHROPIC_API_KEY}"}
#  groq: {type: openai, base_url: "https://api.groq.com/openai/v1", api_key: "${GROQ_API_KEY}"}

#governance:
#  default_policy: {max_requests_per_day: 10000}
"""


@click.command("init")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where to begin.")
def init(folder: Path) -> None:
    """Write .env with a fresh encryption key and a first admin's key, and a commented config/config.yaml.

    What is there already is left alone.
    """
    from asahi_access.tokens import mint

    env, config = folder / ".env", folder / "config" / "config.yaml"
    text = _ENV.format(encryption=secrets.token_hex(32), bootstrap=mint().text)
    made = [path for path, written in ((env, text), (config, _CONFIG)) if _new(path, written)]
    for path in (env, config):
        click.echo(f"{path}: {'written' if path in made else 'was there already and stays as it is'}")
    if env in made:
        click.echo("The first admin's key is ASAHI_BOOTSTRAP_ADMIN_KEY in .env; `asahi serve` reads it from here.")


def _new(path: Path, text: str) -> bool:
    """Write a file for its owner's eyes only; whether there was none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        place = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(place, "w", encoding="utf-8") as file:
        file.write(text)
    return True
