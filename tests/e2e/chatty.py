"""A plugin that tells everything to everybody and fails in whichever way it is asked to, to be served with."""

CHATTY = '''
import asyncio, logging, threading
from contextlib import asynccontextmanager
from asahi_kernel import Config, Factory, hookimpl
from litestar import get

library = logging.getLogger("openai._base_client")

class Chatty:
    """Tells everything to everybody, and fails in whichever way it is asked to."""

    async def admit(self, request, principal):
        text = request.messages[-1].text
        library.debug("Request options: %s", {"json_data": text})
        library.info("sending %s", text)
        library.warning("retrying\\n%s", text)
        logging.getLogger("asahi_chatty").warning("odd: %d", text)
        if "[task]" in text:
            asyncio.get_running_loop().create_task(self.fail(text))
        if "[thread]" in text:
            threading.Thread(target=self.burst, args=(text,)).start()
        if "[callback]" in text:
            asyncio.get_running_loop().call_soon(self.burst, text)
        if "[policy]" in text:
            self.burst(text)
        return request

    async def fail(self, text):
        raise ValueError(text)

    def burst(self, text):
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error

@asynccontextmanager
async def opened(config, gateway):
    yield Chatty()

@hookimpl
def register_policies():
    return [Factory("chatty", Config, opened)]

@hookimpl
def register_routes(gateway):
    @get("/fails/{word:str}", opt={"permission": "public"})
    async def fails(word: str) -> None:
        raise ValueError(word)
    return [fails]
'''


def install(folder):
    """A plugin that the process finds beside it."""
    (folder / "asahi_chatty.py").write_text(CHATTY)
    info = folder / "asahi_chatty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asahi-chatty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asahi]\nchatty = asahi_chatty\n")
