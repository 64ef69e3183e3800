"""OpenAI itself, over both transports; runs only where OPENAI_API_KEY is set."""

from tests.plugins.live import LiveBatches, needs
from tests.plugins.vendors import OPENAI, OPENAI_SDK


@needs("OPENAI_API_KEY")
class TestLive(LiveBatches):
    vendor, api_model = OPENAI, "gpt-4o-mini"


@needs("OPENAI_API_KEY")
class TestLiveBySDK(LiveBatches):
    vendor, api_model = OPENAI_SDK, "gpt-4o-mini"


del LiveBatches
