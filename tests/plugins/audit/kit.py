"""A log as it lies on a disk, made without a gateway."""

import random
from datetime import UTC, datetime, timedelta

from asahi_audit.checkpoints import sign
from asahi_audit.merkle import Tree
from asahi_audit.verifying import leaf_of
from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Head
from asahi_kernel.repositories.audit import AuditEntry, link
from asahi_kernel.signing import SigningKey

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
KEY = SigningKey(b"k" * 32)


def entry(org="acme", number=0, **fields):
    given = {
        "user_id": "ann",
        "action": "policy_update",
        "resource": "policy",
        "details": {"n": number, "why": "ümlaut"},
    }
    return AuditEntry(entry_id=new_id(), timestamp=NOW + timedelta(seconds=number), org_id=org, **{**given, **fields})


def chained(entries):
    heads, linked = {}, []
    for each in entries:
        linked.append(link(heads.get(each.org_id, Head()), each))
        heads[each.org_id] = Head(linked[-1].seq, linked[-1].entry_hash)
    return linked


def log(size, dice=None, orgs=("acme", "globex", "initech")):
    dice = dice or random.Random(size)
    return chained([entry(dice.choice(orgs), number) for number in range(size)])


def signed(entries, *sizes, key=KEY):
    tree, found = Tree(), []
    for number, each in enumerate(entries, 1):
        tree.add(leaf_of(each))
        if number in sizes:
            found.append(sign(tree, key, NOW + timedelta(seconds=number)))
    return found


async def stream(entries):
    for each in entries:
        yield each
