"""The contracts of what deals in vectors: embedders and vector stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.testing.contracts import Contract
from asahi_kernel.vector_stores import BatchingStore, CountingStore


class EmbedderContract(Contract):
    async def test_vectors_are_unit_length_and_of_one_dimension(self, subject: Any) -> None:
        for vector in await subject.embed(["one text", "another text", "Ünïcode ✓"]):
            assert len(vector) == subject.dimensions
            assert abs(sum(x * x for x in vector) - 1) < 1e-3

    async def test_equal_texts_have_equal_vectors(self, subject: Any) -> None:
        first, second = await subject.embed(["the same", "the same"])
        assert sum(x * y for x, y in zip(first, second, strict=True)) > 0.999


class VectorStoreContract(Contract):
    """`survives` says that vectors are still there when the store is opened again with the same configuration."""

    dimensions: ClassVar[int] = 4
    survives: ClassVar[bool] = True

    @pytest.fixture
    async def subject(self, gateway: Gateway) -> AsyncIterator[Any]:
        """Emptied before and after: a store that survives would bring one test's vectors into the next."""
        config = decode(dict(self.config), self.factory.config, self.factory.name)
        async with self.factory.open(config, gateway) as subject:
            for namespace in ("here", "there"):
                await subject.delete(namespace)
            yield subject
            for namespace in ("here", "there"):
                await subject.delete(namespace)

    def axis(self, number: int) -> tuple[float, ...]:
        return tuple(float(number == each) for each in range(self.dimensions))

    async def test_the_nearest_comes_first(self, subject: Any) -> None:
        for number in range(3):
            await subject.upsert("here", f"k{number}", self.axis(number), b"payload")
        assert (await subject.nearest("here", self.axis(1), 2))[0].key == "k1"

    async def test_namespaces_never_see_each_other(self, subject: Any) -> None:
        await subject.upsert("here", "k", self.axis(0), b"")
        assert list(await subject.nearest("there", self.axis(0), 5)) == []

    async def test_what_is_deleted_is_gone(self, subject: Any) -> None:
        await subject.upsert("here", "k", self.axis(0), b"")
        await subject.upsert("there", "k", self.axis(0), b"")
        assert await subject.delete("here", ["k"]) == 1
        assert list(await subject.nearest("here", self.axis(0), 5)) == []
        assert len(await subject.nearest("there", self.axis(0), 5)) == 1

    async def test_a_later_vector_replaces_the_earlier(self, subject: Any) -> None:
        await subject.upsert("here", "k", self.axis(0), b"old")
        await subject.upsert("here", "k", self.axis(1), b"new")
        found = await subject.nearest("here", self.axis(1), 5)
        assert [(each.key, each.payload) for each in found] == [("k", b"new")]
        assert found[0].score == pytest.approx(1, abs=1e-4)

    async def test_only_the_keys_named_are_deleted_and_all_without_names(self, subject: Any) -> None:
        for number in range(4):
            await subject.upsert("here", f"k{number}", self.axis(number), b"")
        assert await subject.delete("here", ["k0", "k2", "no such key"]) == 2
        assert {each.key for each in await subject.nearest("here", self.axis(1), 5)} == {"k1", "k3"}
        assert await subject.delete("here") == 2
        assert list(await subject.nearest("here", self.axis(1), 5)) == []

    async def test_many_rows_come_in_one_batch(self, subject: Any) -> None:
        """For stores that can: see `BatchingStore`."""
        if isinstance(subject, BatchingStore):
            rows = [(f"k{number}", self.axis(number % self.dimensions), b"%d" % number) for number in range(250)]
            await subject.upsert_many("here", rows)
            assert len(await subject.nearest("here", self.axis(0), 300)) == 250
            assert await subject.delete("here", [key for key, _, _ in rows]) == 250

    async def test_vectors_are_counted_per_namespace(self, subject: Any) -> None:
        """For stores that can: see `CountingStore`."""
        if isinstance(subject, CountingStore):
            await subject.upsert("here", "k", self.axis(0), b"")
            await subject.upsert("here", "k", self.axis(1), b"")
            await subject.upsert("here", "l", self.axis(1), b"")
            assert (await subject.count("here"), await subject.count("there")) == (2, 0)
            await subject.delete("here", ["k"])
            assert await subject.count("here") == 1

    async def test_vectors_survive_a_restart(self, gateway: Gateway) -> None:
        if not self.survives:
            return
        config = decode(dict(self.config), self.factory.config, self.factory.name)
        async with self.factory.open(config, gateway) as store:
            await store.upsert("here", "kept", self.axis(1), b"payload")
            await store.upsert("here", "gone", self.axis(1), b"payload")
            await store.delete("here", ["gone"])
        async with self.factory.open(config, gateway) as store:
            found = await store.nearest("here", self.axis(1), 5)
            assert [(each.key, each.payload) for each in found] == [("kept", b"payload")]
            await store.delete("here")
