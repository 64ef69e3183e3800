"""Anthropic itself, over both transports; runs only where ANTHROPIC_API_KEY is set."""

from tests.plugins.live import LiveBatches, needs
from tests.plugins.vendors import ANTHROPIC, ANTHROPIC_SDK, ask

from asahi_anthropic.marking import mark
from asahi_kernel import Message, Request
from asahi_kernel.types import Place


@needs("ANTHROPIC_API_KEY")
class TestLive(LiveBatches):
    vendor, api_model = ANTHROPIC, "claude-haiku-4-5"

    async def test_the_vendor_counts_as_it_bills(self) -> None:
        request = ask("How many tokens is this?", max_tokens=5)
        async with self.open() as provider:
            counted = await provider.count_tokens(self.model, request)
            completion = await provider.complete(self.model, request)
        assert completion.usage is not None
        assert abs(counted - completion.usage.input_tokens) <= 2

    async def test_a_marked_beginning_is_written_and_then_read(self) -> None:
        rules = Message("system", "Answer in one word, whatever is asked. " * 900)
        async with self.open() as provider:
            used = []
            for question in ("Is water wet?", "Is fire hot?"):
                request = Request(messages=(rules, Message("user", question)), max_tokens=5)
                used.append((await provider.complete(self.model, mark(request, [Place(1)]))).usage)
        assert used[0].cache_write_tokens + used[0].cached_tokens > 4_096
        assert used[1].cached_tokens > 4_096


@needs("ANTHROPIC_API_KEY")
class TestLiveBySDK(LiveBatches):
    vendor, api_model = ANTHROPIC_SDK, "claude-haiku-4-5"


del LiveBatches
