"""The checkpoint service."""

import asyncio

import msgspec
import pytest
from tests.kernel.kit import gateway_of

import asahi_analytics
from asahi_analytics import signing
from asahi_analytics.checkpoints import FILE, Signer, read
from asahi_kernel.errors import ConfigError
from asahi_kernel.ledger import Head
from asahi_kernel.records import Settled
from asahi_kernel.testing import ServiceContract
from asahi_kernel.testing.samples import decision, event


class TestCheckpoints(ServiceContract):
    factory = asahi_analytics.register_services()[0]
    config = {"key": "ab" * 32}


@pytest.mark.anyio
class TestSigning:
    async def test_growth_is_signed_once_and_the_rest_at_the_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr(signing, "_TICK_S", 0.01)
        tree = {"savings": {"checkpoint_every": 3}, "governance": {"audit_dir": str(tmp_path)}}
        async with gateway_of(tree) as gateway:
            gateway.storage.name = "as if it stayed"
            config = asahi_analytics.CheckpointsConfig(key=asahi_analytics.config.Secret("ab" * 32))
            async with signing.open_checkpoints(config, gateway):
                await self.post(gateway, 2)
                await asyncio.sleep(0.05)
                assert not (tmp_path / FILE).exists()
                await self.post(gateway, 2)
                while not (tmp_path / FILE).exists():
                    await asyncio.sleep(0.01)
                await self.post(gateway, 1)
            signed = read((tmp_path / FILE).read_bytes().splitlines())
            assert [each.size for each in signed] == [4, 5]
            assert signed[-1].heads == await gateway.storage.ledger.heads()

    async def test_a_storage_that_fails_is_signed_later(self, tmp_path, caplog):
        async with gateway_of() as gateway:
            await self.post(gateway, 1)
            ledger, heads = gateway.storage.ledger, gateway.storage.ledger.heads

            async def broken():
                raise OSError("down")

            ledger.heads = broken
            signer = Signer(b"s" * 32)
            assert await signing.attempt(gateway, signer, tmp_path / FILE, 0, 1) == 0
            assert gateway.faults["checkpoints"] == 1
            ledger.heads = heads
            assert await signing.attempt(gateway, signer, tmp_path / FILE, 0, 1) == 1

    async def post(self, gateway, count):
        events = [event() for _ in range(count)]
        await gateway.storage.books.post([Settled(each, decision(each)) for each in events])


def test_a_bad_key_stops_the_start(tmp_path):
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        signing.open_signer(tmp_path, "abc")


def test_the_host_makes_its_own_key_once(tmp_path):
    assert signing.open_signer(tmp_path, None).public == signing.open_signer(tmp_path, None).public
    assert (tmp_path / "checkpoint.key").stat().st_mode & 0o777 == 0o600
    assert msgspec.json.encode(signing.open_signer(tmp_path, None).sign({}))


def test_a_checkpoint_after_a_torn_line_is_whole(tmp_path):
    """A crash leaves half a line without its end."""
    signer = Signer(b"s" * 32)
    first, second = (signer.sign({"acme": Head(seq, "cd" * 32)}) for seq in (5, 9))
    assert signing.append(tmp_path / FILE, first)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"log":"savings","size":7,"ro')
    assert signing.append(tmp_path / FILE, second)
    assert read((tmp_path / FILE).read_bytes().splitlines()) == [first, second]
