"""Sealed values: bound to their place, under keys that can be exchanged, from files that only their owner reads."""

import os
import secrets
import subprocess
import sys

import pytest

from asahi_kernel.config import read
from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Secret
from asahi_kernel.keyfile import once
from asahi_kernel.settings import Encryption
from asahi_kernel.vault import Unsealable, Vault, open_vault

PLACE = ("acme", "event_bodies", "request", "01K7")
ONE, TWO = secrets.token_bytes(32), secrets.token_bytes(32)


def test_what_was_sealed_is_unsealed_and_is_not_to_be_seen():
    vault = Vault({"a": ONE})
    blob = vault.seal(*PLACE, b"the prompt")
    assert vault.unseal(*PLACE, blob) == b"the prompt"
    assert b"prompt" not in blob


def test_equal_values_are_sealed_differently():
    vault = Vault({"a": ONE})
    assert len({vault.seal(*PLACE, b"x") for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("at", range(4))
def test_a_value_cannot_be_moved(at):
    """C11: another org, table, column or row; also by moving bytes across their borders."""
    vault = Vault({"a": ONE})
    blob = vault.seal(*PLACE, b"x")
    elsewhere = [*PLACE]
    elsewhere[at] += "2"
    with pytest.raises(Unsealable):
        vault.unseal(*elsewhere, blob)
    with pytest.raises(Unsealable):
        vault.unseal("acmee", "vent_bodies", *PLACE[2:], blob)


def test_any_changed_bit_is_seen():
    vault = Vault({"a": ONE})
    blob = vault.seal(*PLACE, b"x")
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unsealable):
            vault.unseal(*PLACE, bytes(changed))
    for cut in range(len(blob)):
        with pytest.raises(Unsealable):
            vault.unseal(*PLACE, blob[:cut])


def test_a_new_key_seals_and_the_old_one_still_opens():
    old = Vault({"v1": ONE}).seal(*PLACE, b"x")
    both = Vault({"v2": TWO, "v1": ONE})
    assert both.unseal(*PLACE, old) == b"x"
    with pytest.raises(Unsealable):
        Vault({"v1": ONE}).unseal(*PLACE, both.seal(*PLACE, b"x"))


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path):
    settings = Encryption(dir=str(tmp_path / "keys"))
    blob = open_vault(settings).seal(*PLACE, b"x")
    vault = open_vault(settings)
    assert vault.unseal(*PLACE, blob) == b"x"
    assert not vault.configured
    path = tmp_path / "keys" / "encryption.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_vault(settings)


def test_processes_that_start_together_agree_on_the_key(tmp_path):
    code = (
        "from asahi_kernel.vault import open_vault; from asahi_kernel.settings import Encryption; "
        f"print(open_vault(Encryption(dir={str(tmp_path)!r})).derive('x').hex())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(6)]
    assert len({each.communicate()[0] for each in running}) == 1
    assert os.listdir(tmp_path) == ["encryption.key"]


def test_a_passphrase_is_stretched_and_opens_again(tmp_path):
    settings = Encryption(dir=str(tmp_path), key=Secret("correct horse battery staple"))
    assert open_vault(settings).unseal(*PLACE, open_vault(settings).seal(*PLACE, b"x")) == b"x"


@pytest.mark.parametrize("keys", ["", "abc", "a:short", f"a:{'0' * 64},a:{'1' * 64}", f"b c:{'0' * 64}"])
def test_a_weak_or_unclear_key_stops_the_start(tmp_path, keys):
    with pytest.raises(ConfigError):
        open_vault(Encryption(dir=str(tmp_path), keys=Secret(keys)))


def test_the_variables_set_the_keys():
    found = read(env={"ASAHI_ENCRYPTION_KEY": "0" * 64, "ASAHI_ENCRYPTION_KEYS": "v2:abc,v1:def"}).encryption
    assert (found.key.reveal(), found.keys.reveal()) == ("0" * 64, "v2:abc,v1:def")
    assert "0000" not in repr(found)


def test_two_hosts_with_one_process_id_agree_on_the_key(tmp_path, monkeypatch):
    """Containers that share a volume are all process 1."""
    monkeypatch.setattr("os.getpid", lambda: 1)
    inner, path = [], tmp_path / "key"

    def make():
        if not inner:
            inner.append(b"")
            inner.append(once(path, lambda: b"other"))
        return b"mine"

    assert once(path, make) == inner[1] == b"other"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
