"""The journal's files: frames that survive damage, group commit, failing disks, and what a dead process leaves."""

import asyncio
import errno
import os
from collections import Counter

import pytest
from tests.kernel.kit import ask, chunks_of, events_of, faults, gateway_of, replace

from asahi_kernel.api.health import examine
from asahi_kernel.errors import Invalid, ProviderFailed, Unavailable
from asahi_kernel.journal import Journal, Receipt, wal
from asahi_kernel.journal.entries import Closed, Intent, encode
from asahi_kernel.journal.frames import frame, scan
from asahi_kernel.journal.recovery import resolve
from asahi_kernel.journal.segment import HEADROOM, adopt
from asahi_kernel.journal.wal import Wal
from asahi_kernel.ledger import Book, Head, fault
from asahi_kernel.records import Settled
from asahi_kernel.settings import Journal as Settings
from asahi_kernel.testing import ASK
from asahi_kernel.testing.samples import decision, event

BOOK = Book(version="none", effective_from="2026-01-01", source="test", prices={})


def settled(**fields):
    one = event(**fields)
    return Settled(one, decision(one))


def files(folder):
    return sorted(folder.glob("*.wal"))


def on_disk(folder):
    """The records of all files, as a new process would read them."""
    return [payload for path in files(folder) for payload in scan(path.read_bytes())]


def durable(folder, **more):
    return {"journal": {"mode": "durable", "dir": str(folder), **more}}


class TestFrames:
    RECORDS = [bytes([65 + number]) * (7 * number + 1) for number in range(26)]
    FILE = b"".join(map(frame, RECORDS))

    def test_a_file_cut_at_any_byte_gives_every_whole_record(self):
        """D6: a torn tail."""
        ends = [len(b"".join(map(frame, self.RECORDS[: count + 1]))) for count in range(26)]
        for cut in range(len(self.FILE) + 1):
            whole = sum(end <= cut for end in ends)
            assert list(scan(self.FILE[:cut])) == self.RECORDS[:whole], cut
            assert list(scan(self.FILE[:cut] + bytes(5_000))) == self.RECORDS[:whole], cut

    def test_any_flipped_bit_costs_its_own_record_only(self):
        """D6: bit flips."""
        starts = [len(b"".join(map(frame, self.RECORDS[:count]))) for count in range(26)]
        for at in range(len(self.FILE)):
            hurt = sum(start <= at for start in starts) - 1
            for bit in range(8):
                flipped = bytearray(self.FILE)
                flipped[at] ^= 1 << bit
                assert list(scan(bytes(flipped))) == self.RECORDS[:hurt] + self.RECORDS[hurt + 1 :], (at, bit)

    def test_a_record_that_holds_a_frame_is_one_record(self):
        inner = frame(b"inner")
        assert list(scan(frame(inner) + frame(b"next"))) == [inner, b"next"]


@pytest.mark.anyio
class TestWal:
    async def opened(self, folder, **more):
        log = Wal(folder / "journal", more.pop("segment_bytes", 64 << 20), Counter(), **more)
        await log.open()
        return log

    async def test_what_was_waited_for_is_on_the_disk(self, tmp_path):
        log = await self.opened(tmp_path)
        tickets = [log.put(b"record %d" % number) for number in range(100)]
        await asyncio.gather(*map(log.settled, tickets))
        assert on_disk(tmp_path / "journal") == [b"record %d" % number for number in range(100)]
        await log.close()

    async def test_many_writers_share_a_sync(self, tmp_path, monkeypatch):
        syncs = []
        sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), sync(fd)))
        log = await self.opened(tmp_path)
        await asyncio.gather(*[log.settled(log.put(b"x")) for _ in range(200)])
        assert 1 <= len(syncs) < 10
        await log.close()

    async def test_a_file_goes_once_storage_holds_its_records(self, tmp_path):
        log = await self.opened(tmp_path, segment_bytes=1 << 16)
        tickets = []
        for _ in range(40):
            tickets.append(log.put(bytes(8_000)))
            await log.settled(tickets[-1])
        assert len(files(tmp_path / "journal")) >= 4
        for ticket in tickets:
            log.release(ticket)
        assert len(files(tmp_path / "journal")) == 1
        await log.close()
        assert files(tmp_path / "journal") == []

    async def test_what_storage_does_not_hold_stays_after_the_end(self, tmp_path):
        log = await self.opened(tmp_path)
        log.put(b"kept")
        await log.close()
        assert on_disk(tmp_path / "journal") == [b"kept"]

    async def test_storage_may_be_faster_than_the_disk(self, tmp_path):
        log = await self.opened(tmp_path)
        ticket = log.put(b"x")
        waiting = asyncio.ensure_future(log.settled(ticket))
        await asyncio.sleep(0)
        log.release(ticket)
        await asyncio.wait_for(waiting, 1)
        await log.close()
        assert files(tmp_path / "journal") == []

    async def test_a_failed_sync_ends_the_file_and_loses_nothing(self, tmp_path, monkeypatch):
        """D7: the descriptor is never trusted again; what was not on the disk is written again from memory."""
        log = await self.opened(tmp_path)
        await log.settled(log.put(b"before"))
        sync, failed = os.fdatasync, []

        def broken(fd):
            if not failed or fd == failed[0]:
                failed.append(fd)
                raise OSError(errno.EIO, "Input/output error")
            sync(fd)

        monkeypatch.setattr(os, "fdatasync", broken)
        await asyncio.gather(*[log.settled(log.put(b"%d" % number)) for number in range(5)])
        await log.settled(log.put(b"after"))
        assert len(failed) == 1
        old, new = files(tmp_path / "journal")
        assert list(scan(new.read_bytes())) == [b"0", b"1", b"2", b"3", b"4", b"after"]
        assert next(iter(scan(old.read_bytes()))) == b"before"
        await log.close()

    async def test_a_disk_that_stays_broken_refuses_and_comes_back_by_itself(self, tmp_path, monkeypatch):
        log = await self.opened(tmp_path)
        write, broken = os.pwrite, [True]

        def full(fd, data, offset):
            if broken[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", full)
        monkeypatch.setattr(wal, "PATIENCE_S", 0.1)
        ticket = log.put(b"paid")
        with pytest.raises(Unavailable) as refused:
            await log.settled(ticket)
        assert refused.value.code == "storage_unavailable"
        with pytest.raises(Unavailable):
            log.admit()
        broken[0] = False
        monkeypatch.setattr(wal, "PATIENCE_S", 5)
        await log.settled(ticket)
        log.admit()
        assert on_disk(tmp_path / "journal") == [b"paid"]
        await log.close()

    async def test_no_call_is_admitted_once_the_headroom_is_gone(self, tmp_path, monkeypatch):
        """What is under way still fits when the disk is full; what is new is refused, until there is room."""
        log = await self.opened(tmp_path)
        allocate, full = os.posix_fallocate, [True]

        def scarce(fd, offset, size):
            if full[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            allocate(fd, offset, size)

        monkeypatch.setattr(os, "posix_fallocate", scarce)
        await log.settled(log.put(bytes(HEADROOM + 1_000)))
        with pytest.raises(Unavailable):
            log.admit()
        await log.settled(log.put(b"settles all the same"))
        full[0] = False
        await asyncio.sleep(2 * wal._RETRY_S)
        log.admit()
        await log.close()

    async def test_a_file_is_an_orphan_only_without_its_process(self, tmp_path):
        log = await self.opened(tmp_path)
        (path,) = files(tmp_path / "journal")
        assert adopt(path) is None
        await log.settled(log.put(b"x"))
        await log.close()
        fd = adopt(path)
        assert fd is not None
        os.close(fd)


class TestRecovery:
    def test_each_request_comes_once_and_the_settlement_wins(self):
        done, open_ = settled(), settled(status="unknown")
        again = replace(open_, event=replace(open_.event, cost=99))
        early = replace(done, event=replace(done.event, status="unknown", cost=10**6))
        entries = [Intent(early), Intent(open_), Closed(done), Intent(again)]
        whole = [frame(encode(each)) for each in entries]
        assert list(resolve([b"".join(whole)])) == [done, again]
        assert list(resolve([b"".join(whole[:2]), b"".join(whole[2:])])) == [done, again]

    def test_an_entry_of_another_version_is_left_out_and_told(self, caplog):
        done = settled()
        data = frame(b"\x81\xa4type\xa6future") + frame(encode(Closed(done)))
        assert list(resolve([data])) == [done]
        assert "cannot be read" in caplog.text

    @pytest.mark.anyio
    async def test_what_storage_refuses_now_stays_for_later(self, tmp_path):
        async with gateway_of() as gateway:
            books, down = gateway.storage.books, [True]
            post = books.post

            async def flaky(batch):
                if down[0]:
                    raise OSError("down")
                return await post(batch)

            books.post = flaky
            journal = Journal(gateway.storage, {}, Counter(), Settings(mode="durable", dir=str(tmp_path)))
            await journal.open(BOOK)
            one = settled()
            receipt = Receipt()
            journal.add(receipt, one)
            await journal.kept(receipt)
            await journal.close()
            assert len(on_disk(tmp_path)) == 1
            down[0] = False
            later = Journal(gateway.storage, {}, Counter(), Settings(mode="durable", dir=str(tmp_path)))
            await later.open(BOOK)
            while not later.recovered:
                await asyncio.sleep(0.01)
            assert await gateway.storage.events.find("here", one.event.request_id) == one.event
            await later.close()
            assert files(tmp_path) == []


@pytest.mark.anyio
class TestPipeline:
    async def test_a_call_is_in_the_journal_before_it_is_made(self, tmp_path):
        """The worst case stands in the file while the provider is still thinking."""
        from tests.chaos.kit import Says

        seen = []

        class Curious(Says):
            async def complete(self, model, request):
                seen.extend(resolve([path.read_bytes() for path in files(tmp_path)]))
                return await super().complete(model, request)

        from tests.chaos.kit import only

        from asahi_kernel.types import Completion, Usage

        says = Curious(Completion(text="x", model="m", usage=Usage(9, 1)))
        async with gateway_of({**only(), **durable(tmp_path)}, providers=("p", says)) as gateway:
            answer = await ask(gateway, replace(ASK, max_tokens=50))
            (intent,) = seen
            assert (intent.event.request_id, intent.event.status) == (answer.request_id, "unknown")
            assert intent.event.cost > answer.bill.cost
            assert intent.event.attempts[0].usage.output_tokens == 50
            assert fault(Head(), await self.entry(gateway, intent), gateway.registry.book()) == ""
            (event,) = await events_of(gateway)
            assert (event.status, event.cost) == ("ok", answer.bill.cost)

    async def test_a_recheck_that_nobody_finishes_is_overhead_at_its_worst(self, tmp_path):
        from tests.chaos.kit import Says, only

        from asahi_kernel.recheck import recheck
        from asahi_kernel.testing import HERE
        from asahi_kernel.types import Completion, Usage

        seen = []

        class Curious(Says):
            async def complete(self, model, request):
                seen.extend(resolve([path.read_bytes() for path in files(tmp_path)]))
                return await super().complete(model, request)

        says = Curious(Completion(text="x", model="m", usage=Usage(9, 1)))
        async with gateway_of({**only(), **durable(tmp_path)}, providers=("p", says)) as gateway:
            (model,) = gateway.registry.by_name
            assert await recheck(gateway, replace(ASK, max_tokens=50), HERE, model, "semantic_cache") is not None
            (intent,) = seen
            event = intent.event
            assert (event.route, event.cost) == ("recheck", 0)
            assert event.overhead_cost == -event.saved == event.attempts[0].cost > 0
            assert fault(Head(), await self.entry(gateway, intent), gateway.registry.book()) == ""

    async def entry(self, gateway, settled):
        from asahi_kernel.ledger import link

        return link(Head(), settled.event)

    async def test_an_answer_waits_for_its_record(self, tmp_path):
        async with gateway_of(durable(tmp_path)) as gateway:
            answer = await ask(gateway)
            ids = [each.event.request_id for each in resolve([path.read_bytes() for path in files(tmp_path)])]
            assert ids == [answer.request_id]
            streamed = (await chunks_of(gateway, replace(ASK, seed=1)))[-1]
            ids = [each.event.request_id for each in resolve([path.read_bytes() for path in files(tmp_path)])]
            assert streamed.request_id in ids

    async def test_each_attempt_is_announced_with_those_before(self, tmp_path):
        async with gateway_of(
            {**faults({"call": 1, "status": 500}, {"call": 2, "status": 500}), **durable(tmp_path)}
        ) as gateway:
            await ask(gateway)
            (path,) = files(tmp_path)
            from asahi_kernel.journal.entries import decode

            entries = [decode(payload) for payload in scan(path.read_bytes())]
            intents = [each for each in entries if isinstance(each, Intent)]
            assert [len(each.settled.event.attempts) for each in intents] == list(range(1, len(intents) + 1))
            assert len(intents) > 1

    async def test_without_a_journal_nothing_is_paid_for_and_hits_are_served(self, tmp_path):
        """D5."""
        async with gateway_of(durable(tmp_path)) as gateway:
            paid = await ask(gateway)
            gateway.journal._wal.failing = True
            assert (await examine(gateway)).components["journal"] == "degraded"
            hit = await ask(gateway)
            assert hit.completion.text == paid.completion.text
            with pytest.raises(Unavailable) as refused:
                await ask(gateway, replace(ASK, seed=7))
            assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")
            gateway.journal._wal.failing = False
            await ask(gateway, replace(ASK, seed=8))
            assert sorted(event.status for event in await events_of(gateway)) == ["failed", "ok", "ok", "ok"]

    async def test_the_ledger_of_every_outcome_adds_up(self, tmp_path):
        """SV-1, SV-4: hits, misses, failures and refusals, recomputed from the price book alone."""
        tree = {
            **faults(
                {"call": 2, "status": 500},
                {"call": 5, "kind": "usage", "usage": "negative"},
                {"call": 6, "status": 400},
            ),
            **durable(tmp_path),
        }
        async with gateway_of(tree) as gateway:
            for seed in range(12):
                try:
                    await ask(gateway, replace(ASK, seed=seed // 2, max_tokens=5 + seed // 2))
                except (ProviderFailed, Invalid):
                    continue
            await gateway.journal.flush()
            head, book = Head(), gateway.registry.book()
            assert await gateway.storage.prices.find(book.version) == book
            async for entry in gateway.storage.ledger.entries("here"):
                assert fault(head, entry, book) == ""
                head = Head(entry.seq, entry.entry_hash)
            totals = await gateway.storage.events.totals("here", None)
            assert head.seq == totals.requests == 12
