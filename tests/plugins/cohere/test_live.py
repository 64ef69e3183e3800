"""Cohere itself; runs only where COHERE_API_KEY is set."""

import pytest
from tests.plugins.live import Live, needs
from tests.plugins.vendors import COHERE

from asahi_kernel import Model


@needs("COHERE_API_KEY")
class TestLive(Live):
    vendor, api_model = COHERE, "command-r7b-12-2024"

    async def test_texts_become_unit_vectors(self) -> None:
        model = Model(name="live", provider="cohere", api_model="embed-english-v3.0")
        async with self.open() as provider:
            answer = await provider.embed(model, ["one text", "another"], None)
        assert [len(vector) for vector in answer.vectors] == [1_024, 1_024]
        assert [sum(x * x for x in vector) for vector in answer.vectors] == pytest.approx([1, 1])
        assert answer.input_tokens


del Live
