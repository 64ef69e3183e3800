"""A journal whose disk, storage or neighbours misbehave goes on by itself, and no charge is lost in it."""

import asyncio
import errno
import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.kernel.kit import gateway_of

from asahi_kernel.errors import Unavailable
from asahi_kernel.journal import Journal, Receipt, recovery, segment, wal
from asahi_kernel.journal.applying import Applier
from asahi_kernel.journal.entries import Closed, encode
from asahi_kernel.journal.frames import frame
from asahi_kernel.journal.recovery import recover
from asahi_kernel.journal.wal import Wal
from asahi_kernel.ledger import Book
from asahi_kernel.records import Settled
from asahi_kernel.settings import Journal as Settings
from asahi_kernel.testing.samples import decision, event

pytestmark = pytest.mark.anyio
BOOK = Book(version="none", effective_from="2026-01-01", source="test", prices={})


def settled(**fields):
    one = event(**fields)
    return Settled(one, decision(one))


async def opened(gateway, folder, mode="durable"):
    journal = Journal(gateway.storage, {}, Counter(), Settings(mode=mode, dir=str(folder)))
    await journal.open(BOOK)
    return journal


async def stored(gateway, journal, one):
    """Enter it, and wait until storage has it."""
    receipt = Receipt()
    journal.add(receipt, one)
    async with asyncio.timeout(5):
        while await gateway.storage.events.find("here", one.event.request_id) is None:
            await asyncio.sleep(0.01)


class TestDisk:
    async def test_a_disk_that_had_no_room_for_a_new_file_is_used_again_without_further_traffic(
        self, tmp_path, monkeypatch
    ):
        """Storage took the record meanwhile, so nothing is left to write that would find out."""
        monkeypatch.setattr(wal, "_RETRY_S", 0.02)
        log = Wal(tmp_path, 64 << 20, Counter())
        await log.open()
        write, allocate = os.pwrite, os.posix_fallocate

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        monkeypatch.setattr(os, "posix_fallocate", full)
        ticket = log.put(b"x")
        while not log.failing:
            await asyncio.sleep(0.01)
        log.release(ticket)
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable):
            log.admit()
        monkeypatch.setattr(os, "pwrite", write)
        monkeypatch.setattr(os, "posix_fallocate", allocate)
        async with asyncio.timeout(5):
            while log.strained:
                await asyncio.sleep(0.01)
        await log.settled(log.put(b"y"))
        await log.close()

    async def test_a_file_that_cannot_be_removed_stops_neither_writing_nor_applying(self, tmp_path, monkeypatch):
        monkeypatch.setattr(wal, "_SPENT", 1_000)
        async with gateway_of() as gateway:
            journal = await opened(gateway, tmp_path)

            def refused(self, missing_ok=False):
                raise OSError(errno.EROFS, "Read-only file system")

            monkeypatch.setattr(Path, "unlink", refused)
            for _ in range(6):
                await stored(gateway, journal, settled(routing_reason="x" * 2_000))
                receipt = Receipt()
                await journal.intend(receipt, settled())
                journal.add(receipt, settled())
            await journal.flush()
            assert journal.lag == 0
            monkeypatch.undo()
            await journal.close()

    async def test_a_full_disk_does_not_stop_applying_after_a_row_that_nothing_takes(self, tmp_path, monkeypatch):
        async with gateway_of() as gateway:
            journal = await opened(gateway, tmp_path)
            post = gateway.storage.books.post

            async def picky(batch):
                from asahi_kernel.errors import Unstorable

                if any(each.event.provider == "bad" for each in batch):
                    raise Unstorable("no")
                return await post(batch)

            async def refused(letters):
                raise OSError("down")

            gateway.storage.books.post, gateway.storage.dead_letters.save = picky, refused
            (tmp_path / "dead-letters").mkdir()  # it cannot be opened for writing
            journal.add(Receipt(), settled(provider="bad"))
            await asyncio.sleep(0.1)
            await stored(gateway, journal, settled())
            assert journal.lag == 2
            (tmp_path / "dead-letters").rmdir()
            async with asyncio.timeout(5):
                while journal.lag:
                    await asyncio.sleep(0.01)
            assert len(journal.dead_letters) == 1
            await journal.close()

    async def test_a_settlement_that_no_file_can_hold_is_not_lost(self, tmp_path):
        """A lone surrogate in what a vendor said is no UTF-8."""
        async with gateway_of() as gateway:
            journal = await opened(gateway, tmp_path)
            await stored(gateway, journal, settled(provider="\ud800"))
            await journal.close()


class TestNeighbours:
    def orphan(self, folder, owner, *settlements):
        path = folder / f"{owner}-00000001.wal"
        path.write_bytes(b"".join(frame(encode(Closed(each))) for each in settlements))
        return path

    async def test_a_file_that_cannot_be_read_hides_no_other_and_leaks_nothing(self, tmp_path, monkeypatch):
        one = settled()
        self.orphan(tmp_path, "aaaa")
        (tmp_path / "aaaa-00000002.wal").write_bytes(b"")
        self.orphan(tmp_path, "bbbb", one)
        open_, taken = os.open, []

        def picky(path, *more):
            if str(path).endswith("aaaa-00000002.wal"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return open_(path, *more)

        async def apply(batch):
            taken.extend(batch)
            return True

        monkeypatch.setattr(os, "open", picky)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await recover(tmp_path, apply)
        assert taken == [one]
        assert len(os.listdir("/proc/self/fd")) == before
        assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["aaaa", "aaaa"]

    async def test_a_long_file_is_read_through_beside_the_loop(self, tmp_path, monkeypatch):
        self.orphan(tmp_path, "aaaa", settled())
        look, threads, taken = recovery.peek, [], []

        def peek(payload):
            threads.append(threading.current_thread())
            return look(payload)

        async def apply(batch):
            taken.extend(batch)
            return True

        monkeypatch.setattr(recovery, "peek", peek)
        assert await recover(tmp_path, apply) == len(taken) == 1
        assert threads[0] is not threading.main_thread()

    async def test_a_file_is_never_seen_before_it_is_locked(self, tmp_path, monkeypatch):
        """Else a neighbour would take it for an orphan and remove it under its writer."""
        seen, lock = [], segment.fcntl.flock
        monkeypatch.setattr(
            segment.fcntl, "flock", lambda fd, how: (seen.extend(tmp_path.glob("*-*.wal")), lock(fd, how))
        )
        log = Wal(tmp_path, 64 << 20, Counter())
        await log.open()
        assert seen == []
        assert len(list(tmp_path.glob("*-*.wal"))) == 1
        await log.close()
        assert list(tmp_path.iterdir()) == []


class Stubborn:
    """Books that refuse certain rows, or all, without a word about which."""

    def __init__(self, refuses):
        self.refuses, self.held = refuses, []

    def dead(self):
        return self.refuses(settled())

    async def post(self, batch):
        if any(map(self.refuses, batch)):
            raise Unavailable("failed", code="storage_unavailable")
        self.held += batch
        return len(batch)


class TestStubborn:
    async def applied(self, books, batch, times):
        async with gateway_of() as gateway:
            gateway.storage.books = books
            applier = Applier(gateway.storage, {}, Counter(), lambda letters: None)
            save = gateway.storage.dead_letters.save

            async def saved(letters):
                if books.dead():
                    raise Unavailable("failed")
                await save(letters)

            gateway.storage.dead_letters.save = saved
            done = False
            while times and not done:
                done, times = await applier.apply(batch), times - 1
            return done, await gateway.storage.dead_letters.count()

    async def test_a_storage_that_answers_but_takes_nothing_buries_nothing(self):
        """A read-only standby, or a full disk behind a living server: not the rows' fault."""
        batch = [settled() for _ in range(40)]
        books = Stubborn(lambda each: True)
        books.dead = lambda: False
        assert await self.applied(books, batch, 12) == (False, 0)

    async def test_rows_are_at_fault_where_others_go_through(self):
        bad = [settled(provider="bad") for _ in range(3)]
        batch = [*bad[:2], *[settled() for _ in range(40)], bad[2]]
        books = Stubborn(lambda each: each.event.provider == "bad")
        assert await self.applied(books, batch, 12) == (True, 3)
        assert {each.event.request_id for each in books.held} == {each.event.request_id for each in batch[2:-1]}

    async def test_a_storage_that_dies_while_the_rows_at_fault_are_sought_buries_nothing(self):
        books = Stubborn(lambda each: each.event.provider == "bad" or len(books.held) >= 10)
        batch = [*[settled() for _ in range(40)], settled(provider="bad")]
        assert await self.applied(books, batch, 12) == (False, 0)
        books.refuses = lambda each: False
        assert await self.applied(books, batch, 1) == (True, 0)
