"""The savings ledger is proved: every tampering is found, clean ledgers raise no alarm."""

import json
import random
import secrets
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner

from asahi_analytics.checkpoints import Checkpoint, Signer, genuine, read
from asahi_analytics.commands import savings
from asahi_analytics.dump import BookLine, Dump, EntryLine, write
from asahi_analytics.signing import append
from asahi_analytics.verifying import fault_of_books, fault_of_checkpoints, verify
from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Book, Head, digest, link
from asahi_kernel.money import Prices, per_million
from asahi_kernel.pricing import price_version
from asahi_kernel.records import OWN, Attempt, Event
from asahi_kernel.types import Usage

pytestmark = pytest.mark.anyio
replace = msgspec.structs.replace
PRICES = {
    "small": Prices(input=per_million("0.15"), output=per_million("0.6"), cache_read=per_million("0.075")),
    "large": Prices(input=per_million(10), output=per_million(30)),
}
BOOK = Book(version=price_version(PRICES.items()), effective_from="2026-11-26", source="test", prices=PRICES)
SIGNER = Signer(secrets.token_bytes(32))


def event(dice):
    """A request of any outcome whose money adds up."""
    usage = Usage(dice.randint(1, 5_000), dice.randint(1, 900), dice.randint(0, 1))
    kind = dice.choice(["ok", "hit", "failed", "unpriced", "recheck"])
    cost = None if kind == "unpriced" else PRICES["small"].cost(usage)
    model = "nobody" if kind == "unpriced" else "small"
    attempt = Attempt(n=1, provider="p", model=model, outcome="ok", usage=usage, cost=cost, billed=True)
    before = PRICES["large"].plain(usage.input_tokens, usage.output_tokens)
    money = {
        "ok": {"cost": cost, "baseline_cost": before, "saved": before - (cost or 0), "attempts": (attempt,)},
        "hit": {"cost": 0, "baseline_cost": before, "saved": before},
        "failed": {"cost": cost, "saved": -(cost or 0), "attempts": (attempt,)},
        "unpriced": {"cost": None, "attempts": (attempt,)},
        "recheck": {"cost": 0, "overhead_cost": cost or 0, "saved": -(cost or 0), "attempts": (attempt,)},
    }[kind]
    return Event(
        request_id=new_id(),
        timestamp=datetime.now(UTC),
        org_id="acme",
        route=OWN if kind == "recheck" else "/infer",
        status="failed" if kind == "failed" else "ok",
        baseline_model="large",
        baseline_usage=Usage(usage.input_tokens, usage.output_tokens) if "baseline_cost" in money else Usage(),
        price_version=BOOK.version,
        **money,
    )


def chain(dice, length):
    head, entries = Head(), []
    for _ in range(length):
        entries.append(link(head, event(dice)))
        head = Head(entries[-1].seq, entries[-1].entry_hash)
    return entries


def checkpoint_of(entries, at):
    return SIGNER.sign({"acme": Head(at, entries[at - 1].entry_hash), "other": Head(3, "ab" * 32)})


async def of(entries):
    for entry in entries:
        yield entry


async def fault(entries, books=(BOOK,), checkpoints=()):
    wrong = fault_of_books(books) or fault_of_checkpoints(checkpoints, SIGNER.public)
    found = await verify("acme", of(entries), {book.version: book for book in books}, checkpoints)
    return wrong or found.fault


def rehashed(entries, start):
    """Every link from here on computed anew, as one with the database in hand would."""
    head = Head(entries[start - 1].seq, entries[start - 1].entry_hash) if start else Head()
    done = entries[:start]
    for entry in entries[start:]:
        entry = replace(entry, seq=head.seq + 1, prev_hash=head.entry_hash)
        done.append(replace(entry, entry_hash=digest(entry)))
        head = Head(done[-1].seq, done[-1].entry_hash)
    return done


def edited(entry, dice):
    """One field of the entry, changed to something else."""
    amount = dice.choice([-1, 1]) * dice.randint(1, 10**6)
    name = dice.choice(["cost", "baseline_cost", "overhead_cost", "saved", "seq", "request_id", "org_id", "usage"])
    value = getattr(entry, name)
    if name == "usage":
        usage = replace(value.baseline_usage, input_tokens=value.baseline_usage.input_tokens + 1)
        return replace(entry, usage=replace(value, baseline_usage=usage))
    if isinstance(value, str):
        return replace(entry, **{name: value[:-1] + ("0" if value[-1] != "0" else "1")})
    return replace(entry, **{name: (value or 0) + amount})


def tampered(entries, dice):
    """What somebody did to the chain, and the checkpoints that were signed before."""
    entries, signed, at = list(entries), checkpoint_of(entries, dice.randint(len(entries) // 2, len(entries))), 0
    last = signed.heads["acme"].seq
    at = dice.randrange(last)
    match dice.choice(["edit", "delete", "insert", "swap", "cut", "rehash", "repair", "book", "checkpoint"]):
        case "edit":
            entries[at] = edited(entries[at], dice)
        case "delete":
            del entries[at]
        case "insert":
            entries.insert(at, replace(entries[at], request_id=new_id()))
        case "swap":
            other = (at + dice.randrange(1, last)) % last
            entries[at], entries[other] = entries[other], entries[at]
        case "cut":
            entries = entries[:at]
        case "rehash":
            entries[at] = link(Head(), event(dice))
            entries = rehashed(entries, at)
        case "repair":
            entries[at] = edited(entries[at], dice)
            entries[at] = replace(entries[at], entry_hash=digest(entries[at]))
            if at + 1 < len(entries):
                entries[at + 1] = replace(entries[at + 1], prev_hash=entries[at].entry_hash)
        case "book":
            cheap = replace(PRICES["small"], input=PRICES["small"].input + dice.randint(1, 1_000))
            return entries, [replace(BOOK, prices={**PRICES, "small": cheap})], [signed]
        case "checkpoint":
            entries[at] = link(Head(), event(dice))
            entries = rehashed(entries, at)
            heads = {**signed.heads, "acme": Head(last, entries[last - 1].entry_hash)}
            forged = dice.choice([signed.signature, Signer(secrets.token_bytes(32)).sign(heads).signature])
            signed = replace(signed, heads=heads, signature=forged)
    return entries, [BOOK], [signed]


async def test_1000_of_1000_tamperings_are_found():
    """SV-1."""
    dice = random.Random(11)
    chains = [chain(dice, dice.randint(5, 30)) for _ in range(20)]
    missed = []
    for number in range(1_000):
        entries, books, checkpoints = tampered(dice.choice(chains), dice)
        if not await fault(entries, books, checkpoints):
            missed.append(number)
    assert missed == []


async def test_no_alarm_on_100_clean_ledgers():
    dice = random.Random(12)
    for _ in range(100):
        entries = chain(dice, dice.randint(1, 40))
        signed = [checkpoint_of(entries, at) for at in sorted({1, len(entries)})]
        assert await fault(entries, [BOOK], signed) == ""


async def test_a_last_entry_computed_anew_shows_after_it_was_signed_again():
    """Another org's growth has the service sign the forged end beside the one that it signed before."""
    entries = chain(random.Random(16), 8)
    before = checkpoint_of(entries, 8)
    entries[7] = link(Head(7, entries[6].entry_hash), event(random.Random(17)))
    after = SIGNER.sign({**before.heads, "acme": Head(8, entries[7].entry_hash), "other": Head(9, "cd" * 32)})
    assert "entry 8" in await fault(entries, [BOOK], [before, after])


async def test_the_first_difference_is_named():
    entries = chain(random.Random(13), 10)
    entries[6] = replace(entries[6], saved=entries[6].saved + 1)
    entries[8] = replace(entries[8], saved=entries[8].saved + 1)
    assert "entry 7 was changed" in await fault(entries)


async def test_verification_from_a_moment_on_skips_what_was_before():
    entries = chain(random.Random(14), 6)
    bad = [replace(entries[0], saved=entries[0].saved + 1), *entries[1:]]
    books = {BOOK.version: BOOK}
    later = datetime.now(UTC) + timedelta(hours=1)
    assert (await verify("acme", of(bad), books, since=later)).entries == 0
    assert (await verify("acme", of(bad), books)).fault
    assert (await verify("acme", of(bad), books, since=datetime(2020, 1, 1, tzinfo=UTC))).fault


def test_only_the_holder_of_the_key_signs():
    signed = SIGNER.sign({"acme": Head(5, "cd" * 32)})
    assert genuine(signed, SIGNER.public)
    assert not genuine(signed, Signer(secrets.token_bytes(32)).public)
    for change in ({"size": 6}, {"root": "00" * 32}, {"heads": {"acme": Head(6, "cd" * 32)}}, {"signature": "00" * 64}):
        assert not genuine(replace(signed, **change), SIGNER.public)


def test_a_torn_line_of_the_checkpoint_file_is_left_out_and_the_file_goes_on(tmp_path):
    path = tmp_path / "audit" / "checkpoints.jsonl"
    first, second = (SIGNER.sign({"acme": Head(seq, "cd" * 32)}) for seq in (5, 9))
    assert append(path, first)
    assert not append(path, first)
    with path.open("ab") as file:
        file.write(b'{"size": 7, "roo\n')
    assert append(path, second)
    assert read(path.read_bytes().splitlines()) == [first, second]


async def test_a_dump_that_is_written_while_prices_change_holds_the_new_ones(tmp_path):
    """A gateway that starts with other prices meanwhile enters its book, and then what it charged by it."""
    entries, books = chain(random.Random(18), 3), []

    class Growing:
        async def all(self):
            return tuple(books)

        async def entries(self, org):
            books.append(BOOK)
            for entry in entries:
                yield entry

    class Stored:
        prices = ledger = Growing()

    with (tmp_path / "dump").open("wb") as file:
        assert await write(Stored(), ["acme"], file) == 3
    dump = Dump(tmp_path / "dump")
    assert (await verify("acme", dump.entries("acme"), dump.books)).fault == ""


class TestCommand:
    """SV-2: `asahi savings verify` on a dump, without the service."""

    @pytest.fixture
    def entries(self):
        return chain(random.Random(15), 50)

    def written(self, folder, entries):
        path = folder / "dump.jsonl"
        lines = [BookLine(BOOK), *map(EntryLine, entries)]
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return path

    def ran(self, folder, dump, *more):
        arguments = ["verify", "--dump", str(dump), "--public-key", SIGNER.public.hex(), *more]
        return CliRunner().invoke(savings, arguments, env={"ASAHI_ENCRYPTION__DIR": str(folder)})

    def test_a_good_dump_is_good(self, tmp_path, entries):
        path = tmp_path / "checkpoints"
        append(path, SIGNER.sign({"acme": Head(50, entries[-1].entry_hash)}))
        ran = self.ran(tmp_path, self.written(tmp_path, entries), "--checkpoint", str(path))
        assert ran.exit_code == 0, ran.output
        assert "good  acme: 50 entries" in ran.output
        assert "1 checkpoints agree" in ran.output

    def test_an_org_whose_chain_is_gone_shows_though_it_was_left_out_of_the_last_checkpoint(self, tmp_path, entries):
        path = tmp_path / "checkpoints"
        append(path, SIGNER.sign({"acme": Head(20, entries[19].entry_hash), "gone": Head(3, "ab" * 32)}))
        append(path, SIGNER.sign({"acme": Head(50, entries[-1].entry_hash)}))
        ran = self.ran(tmp_path, self.written(tmp_path, entries), "--checkpoint", str(path))
        assert (ran.exit_code, "BAD   gone" in ran.output) == (1, True), ran.output

    def test_a_public_key_that_is_none_is_told(self, tmp_path, entries):
        path = tmp_path / "checkpoints"
        append(path, SIGNER.sign({"acme": Head(50, entries[-1].entry_hash)}))
        ran = self.ran(tmp_path, self.written(tmp_path, entries), "--checkpoint", str(path), "--public-key", "xyz")
        assert (ran.exit_code, "64 hexadecimal digits" in ran.output) == (1, True), ran.output

    def test_a_missing_checkpoint_is_told(self, tmp_path, entries):
        ran = self.ran(tmp_path, self.written(tmp_path, entries))
        assert (ran.exit_code, "a cut end would not show" in ran.output) == (0, True)

    def test_a_bad_one_exits_1_and_names_the_entry(self, tmp_path, entries):
        entries[20] = replace(entries[20], saved=1)
        ran = self.ran(tmp_path, self.written(tmp_path, entries), "--json")
        assert ran.exit_code == 1
        assert json.loads(ran.output)[0]["fault"].startswith("entry 21")

    def test_a_whole_org_that_vanished_is_missed(self, tmp_path, entries):
        path = tmp_path / "checkpoints"
        append(path, SIGNER.sign({"acme": Head(50, entries[-1].entry_hash), "gone": Head(1, "ab" * 32)}))
        ran = self.ran(tmp_path, self.written(tmp_path, entries), "--checkpoint", str(path))
        assert ran.exit_code == 1
        assert "BAD   gone: the chain ends at 0" in ran.output

    def test_a_line_that_is_no_entry_is_refused_with_its_number(self, tmp_path, entries):
        path = self.written(tmp_path, entries)
        path.write_bytes(path.read_bytes() + b"{}\n")
        ran = self.ran(tmp_path, path)
        assert ran.exit_code != 0
        assert "line 52" in str(ran.exception)


def test_a_checkpoint_says_what_it_covers():
    signed = SIGNER.sign({"b": Head(2, "00" * 32), "a": Head(1, "11" * 32)})
    assert isinstance(signed, Checkpoint)
    assert (signed.size, list(signed.heads)) == (3, ["a", "b"])


async def test_the_books_of_real_gateways_are_what_their_versions_say():
    """With the mock and with looked-up prices: a start must not make a book that verification then refuses."""
    from tests.kernel.kit import gateway_of

    real = {"providers": {"openai": {"api_key": "sk"}, "anthropic": {"api_key": "sk"}}}
    for tree in ({}, real):
        async with gateway_of(tree) as gateway:
            book = gateway.registry.book()
            assert len(book.prices) > 4
            assert fault_of_books([book]) == ""
            assert fault_of_books([msgspec.json.decode(msgspec.json.encode(book), type=Book)]) == ""
