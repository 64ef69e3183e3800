"""Data keys of subjects: who has which, how often storage is asked, and what happens while it is away or after the end
of a subject. That workers agree, and that an erased key stays dead, is a contract of every storage."""

import asyncio
import gc
import secrets
from collections import Counter
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from tests.kernel.keys import Clock, Store

from asahi_kernel.errors import Unavailable
from asahi_kernel.keyring import MARK, Erased, Keyring, SubjectKey, keyring_of, unwrapped
from asahi_kernel.repositories.subjects import owner_of, subject_of
from asahi_kernel.repositories.work import BODIES, JOBS, DataKeys
from asahi_kernel.vault import Unsealable, Vault

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, tzinfo=UTC)
PLACE = ("feedback", "comment", "r:ann")
ANN = subject_of("acme", "ann")


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def moment():
    return Clock()


@pytest.fixture
def vault():
    return Vault({"main": secrets.token_bytes(32)})


@pytest.fixture
def faults():
    return Counter()


@pytest.fixture
def ring(vault, store, faults, moment):
    return Keyring(vault, store, faults, moment)


async def sealed(ring, org="acme", subject=ANN, value=b"fine"):
    return (await ring.sealing(org, subject)).seal(org, *PLACE, value)


async def opened(ring, blob, org="acme"):
    return (await ring.opening(org, blob)).unseal(org, *PLACE, blob)


async def test_what_was_sealed_is_unsealed_and_is_not_to_be_seen(ring):
    blob = await sealed(ring, value=b"a word of Ann's")
    assert (await opened(ring, blob), blob[:1]) == (b"a word of Ann's", MARK)
    assert b"Ann" not in blob
    assert len({await sealed(ring) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("at", range(4))
async def test_a_value_cannot_be_moved(ring, at):
    """C11: another org, table, column or row, also by moving bytes across their borders."""
    blob, elsewhere = await sealed(ring), ["acme", *PLACE]
    key = await ring.opening("acme", blob)
    elsewhere[at] += "2"
    with pytest.raises(Unsealable):
        key.unseal(*elsewhere, blob)
    with pytest.raises(Unsealable):
        key.unseal("acmef", "eedback", *PLACE[1:], blob)


async def test_any_changed_bit_is_seen(ring):
    blob = await sealed(ring)
    for bit in range(8 * len(blob)):
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unsealable):
            await opened(ring, bytes(changed))
    for cut in range(len(blob)):
        with pytest.raises(Unsealable):
            await opened(ring, blob[:cut])


async def test_each_user_and_each_org_has_a_key_of_its_own(ring, store, vault):
    named = [("acme", None), ("acme", "ann"), ("acme", "bob"), ("evil", None), ("evil", "ann")]
    blobs = {each: await sealed(ring, each[0], subject_of(*each)) for each in named}
    assert len({blob[1:13] for blob in blobs.values()}) == len(named)
    kept = [*await store.of_org("acme"), *await store.of_org("evil")]
    assert len({unwrapped(vault, key) for key in kept}) == len(named)
    for (org, _), blob in blobs.items():
        assert await opened(ring, blob, org) == b"fine"
        with pytest.raises(Unsealable, match="not its organisation's"):
            await ring.opening("evil" if org == "acme" else "acme", blob)


async def test_a_wrapped_key_opens_in_its_own_row_alone(ring, store, vault):
    await sealed(ring)
    await sealed(ring, subject=subject_of("acme", "bob"))
    mine, theirs = await store.of_org("acme")
    assert unwrapped(vault, mine) not in mine.wrapped_key
    for moved in (
        replace(theirs, wrapped_key=mine.wrapped_key),
        replace(mine, key_name=theirs.key_name),
        replace(mine, org_id="evil"),
    ):
        with pytest.raises(Unsealable):
            unwrapped(vault, moved)


async def test_what_was_sealed_before_there_were_such_keys_opens(ring, vault):
    assert await opened(ring, vault.seal("acme", *PLACE, b"old")) == b"old"


async def test_where_no_storage_keeps_keys_the_vault_seals(vault):
    ring = keyring_of(type("Storage", (), {"name": "memory"})(), vault, Counter())
    blob = await sealed(ring)
    assert vault.unseal("acme", *PLACE, blob) == b"fine"
    assert await opened(ring, blob) == b"fine"
    with pytest.raises(Unsealable):
        await ring.opening("acme", MARK + blob)


async def test_storage_is_asked_once_for_a_key_and_then_no_more(ring, store):
    blobs = await asyncio.gather(*[sealed(ring) for _ in range(50)])
    for blob in blobs * 20:
        assert await opened(ring, blob) == b"fine"
        assert await ring.opening_soon("acme", blob) is await ring.sealing_soon("acme", ANN)
    assert store.asked == {"get": 2}


async def test_a_key_that_is_expected_is_there_when_it_is_needed(ring, store):
    ring.expect("acme", ANN)
    for _ in range(20):
        await asyncio.sleep(0)
    store.away = True
    assert await sealed(ring)


async def test_another_worker_asks_once_for_the_key_of_a_value(vault, store, ring):
    blob, other = await sealed(ring), Keyring(vault, store)
    store.asked.clear()
    assert set(await asyncio.gather(*[opened(other, blob) for _ in range(50)])) == {b"fine"}
    assert store.asked == {"named": 1}


async def test_a_bounded_number_of_keys_is_held(vault, store, monkeypatch):
    monkeypatch.setattr("asahi_kernel.keyring._MOST", 20)
    ring = Keyring(vault, store)
    for number in range(100):
        await sealed(ring, subject=subject_of("acme", f"user {number}"))
    gc.collect()
    assert len([each for each in gc.get_objects() if isinstance(each, SubjectKey)]) <= 20


async def test_while_storage_is_away_known_keys_work_and_caches_do_without_others(ring, store, faults):
    blob, bob = await sealed(ring), subject_of("acme", "bob")
    store.away = True
    assert await opened(ring, blob) == b"fine"
    assert await opened(ring, await sealed(ring)) == b"fine"
    with pytest.raises(Unavailable):
        await ring.sealing("acme", bob)
    assert await ring.sealing_soon("acme", bob) is None
    assert await ring.opening_soon("acme", MARK + bytes(40)) is None
    assert faults["data_keys.storage"] == 3


async def test_a_storage_that_has_just_failed_is_not_asked_for_each_request(ring, store, moment):
    store.away = True
    for number in range(50):
        assert await ring.sealing_soon("acme", subject_of("acme", str(number))) is None
    assert store.asked == {"get": 1}
    store.away, moment.now = False, moment.now + 1.1
    assert await ring.sealing_soon("acme", ANN) is not None


async def test_a_cache_does_not_wait_for_a_frozen_storage(ring, store):
    store.frozen = True
    async with asyncio.timeout(1.5):
        assert await ring.sealing_soon("acme", ANN) is None


async def test_a_key_that_was_destroyed_elsewhere_is_found_out(vault, store, ring, moment):
    """By a worker that did not hear of the erasure."""
    blob = await sealed(ring)
    await store.erase("acme", ANN, NOW)
    moment.now += 61
    await ring.opening_soon("acme", blob)
    await ring.sealing_soon("acme", ANN)
    for _ in range(20):
        await asyncio.sleep(0)
    with pytest.raises(Erased):
        await ring.opening("acme", blob)
    assert await ring.opening_soon("acme", blob) is None
    assert (await sealed(ring))[1:13] != blob[1:13]


async def test_a_key_is_not_believed_for_ever_while_storage_is_away(ring, store, moment):
    blob = await sealed(ring)
    store.away, moment.now = True, moment.now + 299
    assert await opened(ring, blob) == b"fine"
    moment.now += 2
    with pytest.raises(Unavailable):
        await opened(ring, blob)


async def test_what_is_forgotten_is_looked_up_again_and_other_orgs_keep_theirs(ring, store):
    mine, theirs = await sealed(ring), await sealed(ring, "acme2", subject_of("acme2"))
    await store.erase("acme", ANN, NOW)
    store.asked.clear()
    ring.forget("acme")
    assert await opened(ring, theirs, "acme2") == b"fine"
    assert store.asked == {}
    with pytest.raises(Erased):
        await opened(ring, mine)
    ring.forget()
    await opened(ring, theirs, "acme2")
    assert store.asked["named"] == 2


async def test_a_look_that_was_under_way_when_it_was_to_be_forgotten_is_not_remembered(ring, store):
    blob = await sealed(ring)
    ring.forget()
    late = [asyncio.ensure_future(ring.sealing("acme", ANN)), asyncio.ensure_future(ring.opening("acme", blob))]
    while sum(store.asked.values()) < 4:
        await asyncio.sleep(0)
    await DataKeys.erase(store, "acme", ANN, NOW)
    ring.forget("acme")
    await asyncio.gather(*late, return_exceptions=True)
    with pytest.raises(Erased):
        await ring.opening("acme", blob)
    assert (await sealed(ring))[1:13] != blob[1:13]


def test_the_owner_of_a_record_is_its_user_else_its_org():
    assert owner_of(JOBS, {"org_id": "acme", "user_id": "ann"}) == ANN
    assert owner_of(JOBS, {"org_id": "acme", "user_id": None}) == "acme"
    assert owner_of(BODIES, {"org_id": "acme", "subject": ANN}) == ANN
