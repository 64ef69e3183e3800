"""The tree, and what a verification finds: every tampering, and nothing where there is none."""

import random
from datetime import timedelta

import msgspec
import pytest
from tests.plugins.audit.kit import KEY, NOW, chained, entry, log, signed, stream

from asahi_audit.checkpoints import read
from asahi_audit.merkle import EMPTY, Tree
from asahi_audit.verifying import disorder, verify
from asahi_kernel.signing import SigningKey

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace

#: Leaves and roots of Certificate Transparency's own tests of RFC 6962.
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def test_the_tree_is_that_of_rfc_6962():
    tree = Tree()
    assert tree.root() == EMPTY.hex()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.add(bytes.fromhex(leaf))
        assert tree.root() == root


def rehashed(entries, at, **fields):
    """Everything computed anew from an entry on, as one who owns the database can."""
    changed = [replace(each, **fields) if number == at else each for number, each in enumerate(entries)]
    return chained(changed)


def edited(each, dice):
    return dice.choice(
        [
            lambda: replace(each, user_id="mallory"),
            lambda: replace(each, timestamp=each.timestamp + timedelta(hours=1)),
            lambda: replace(each, details={"n": -1}),
            lambda: replace(each, result="denied"),
            lambda: replace(each, ip_address="10.0.0.1"),
            lambda: replace(each, details_hash="0" * 64),
        ]
    )()


def tampered(kind, entries, checkpoints, dice):
    """Eight kinds, at a random place."""
    entries, checkpoints = list(entries), list(checkpoints)
    at = dice.randrange(len(entries) - 1)
    match kind:
        case "edit":
            entries[at] = edited(entries[at], dice)
        case "edit and repair":
            from asahi_kernel.repositories.audit import digest

            entries[at] = replace(entries[at], user_id="mallory", entry_hash="")
            entries[at] = replace(entries[at], entry_hash=digest(entries[at]))
            for later in range(at + 1, len(entries)):
                if entries[later].org_id == entries[at].org_id:
                    entries[later] = replace(entries[later], prev_hash=entries[at].entry_hash)
                    break
        case "delete":
            del entries[at]
        case "insert":
            entries.insert(at, replace(dice.choice(entries), entry_id="X" * 26))
        case "reorder":
            other = dice.choice([each for each in range(len(entries)) if each != at])
            entries[at], entries[other] = entries[other], entries[at]
        case "last entry":
            entries[-1] = chained(replace(each, user_id="m") if each is entries[-1] else each for each in entries)[-1]
        case "truncate":
            del entries[dice.randrange(len(entries)) :]
        case "rehash":
            entries = rehashed(entries, at, user_id="mallory")
    return entries, checkpoints


KINDS = ("edit", "edit and repair", "delete", "insert", "reorder", "last entry", "truncate", "rehash")


async def test_a_thousand_tamperings_are_found():
    """AD-1, C12."""
    dice = random.Random(7)
    logs = [log(size, dice) for size in (2, 3, 17, 40, 64)]
    missed = []
    for number in range(1_000):
        kind, entries = KINDS[number % len(KINDS)], dice.choice(logs)
        signatures = signed(entries, dice.randrange(1, len(entries)), len(entries))
        bad, checkpoints = tampered(kind, entries, signatures, dice)
        if not (await verify(stream(bad), checkpoints, KEY.public)).faults:
            missed.append(kind)
    assert missed == []


async def test_a_hundred_clean_logs_raise_no_alarm():
    dice = random.Random(8)
    for _ in range(100):
        entries = log(dice.randrange(0, 80), dice)
        sizes = {dice.randrange(0, len(entries) + 1) for _ in range(4)}
        found = await verify(stream(entries), signed(entries, *sizes), KEY.public)
        assert (found.faults, found.entries, found.covered) == ((), len(entries), max(sizes - {0}, default=0))


async def test_checkpoints_that_were_touched_prove_the_touch():
    """C12: forged, of another key, of two histories, an old one put back."""
    entries = log(30)
    old, new = signed(entries, 10, 30)
    for wrong in (
        replace(new, size=20),
        replace(new, root=old.root),
        replace(new, signed_at=NOW),
        replace(old, size=30),
    ):
        assert (await verify(stream(entries), [wrong], KEY.public)).faults
    other = signed(entries, 30, key=SigningKey(b"x" * 32))
    found = await verify(stream(entries[:20]), other, KEY.public)
    assert (found.strangers, found.covered) == (1, 0)
    (twin,) = signed(rehashed(entries, 3, user_id="m"), 30)
    assert (await verify(stream(entries), [new, twin], KEY.public)).faults
    assert disorder([old, new]) is None
    assert disorder([old, new, old]) is not None
    lines = [msgspec.json.encode(old), b'{"log":"aud', msgspec.json.encode(new)]
    assert read(lines) == [old, new]


async def test_emptied_details_verify_and_changed_ones_do_not():
    """AD-2."""
    entries = log(20)
    emptied = [replace(each, details={}) if number < 10 else each for number, each in enumerate(entries)]
    assert not (await verify(stream(emptied), signed(entries, 20), KEY.public)).faults
    emptied[3] = replace(emptied[3], details={"n": 99})
    found = await verify(stream(emptied), signed(entries, 20), KEY.public)
    assert [each.org for each in found.faults] == [entries[3].org_id]


async def test_a_fault_names_its_org_and_entry():
    entries = chained([entry("acme", 0), entry("globex", 1), entry("acme", 2), entry("globex", 3)])
    entries[2] = replace(entries[2], user_id="mallory")
    (fault,) = (await verify(stream(entries), [], KEY.public)).faults
    assert (fault.org, fault.seq) == ("acme", 2)
