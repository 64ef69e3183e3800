"""The postman: takes one message to the operator's mail server, in a thread of its own that nobody has to wait for."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from asahi_kernel.errors import ConfigError

Security = Literal["starttls", "tls", "none"]
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,188}[A-Za-z0-9])?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}


class Server(Struct, frozen=True, kw_only=True):
    """A mail server, how its line is secured, and who we are to it."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Server({self.host!r}, {self.port}, {self.security!r})"


class Unsent(Exception):
    """The message was not taken. `final` says that the next try will not do better."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.final = final


def server_of(url: str, security: Security | None) -> Server:
    """The server of an address such as `smtp://user:password@mail.example.com:587`. Raises `ConfigError` for what is
    none, and for a password that would go over an open line."""
    place = "services.mail.smtp_url"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{place}: this is no address of a mail server") from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigError(f"{place}: write it as smtp://user:password@host:587, or smtps:// for TLS from the beginning")
    how: Security = security or ("tls" if parts.scheme == "smtps" else "starttls")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if how == "none" and user and parts.hostname not in _LOOPBACK:
        raise ConfigError("services.mail.security: `none` would send the password of smtp_url over an open line")
    return Server(host=parts.hostname, port=port or _PORTS[how], security=how, user=user, password=password)


def address(text: str) -> str | None:
    """A mail address as it may stand in a command and a header, or None. Stricter than the standard: nothing quoted."""
    return text if _ADDRESS.fullmatch(text) and ".." not in text else None


def letter(sender: str, to: Sequence[str], subject: str, body: str) -> EmailMessage:
    """A message in plain text. Raises `ValueError` for a subject that is more than a line."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="asahi.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message


async def deliver(server: Server, message: EmailMessage, timeout_s: float) -> None:
    """Have the server take a message within this time, all steps together; raises `Unsent`. A server that says nothing
    costs a thread that ends with its connection, and holds up no one, not even the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    call = _Call(server, message, timeout_s)

    def work() -> None:
        error = call.run()
        with suppress(RuntimeError):  # the loop may be over by now
            loop.call_soon_threadsafe(_settle, done, error)

    threading.Thread(target=work, name="asahi-mail", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            await done
    except TimeoutError:
        raise Unsent("the mail server did not answer in time") from None
    finally:
        call.hang_up()


class _Call:
    """One conversation with the server."""

    def __init__(self, server: Server, message: EmailMessage, timeout_s: float) -> None:
        self._server = server
        self._message = message
        self._timeout_s = timeout_s
        self._client: smtplib.SMTP | None = None

    def run(self) -> Exception | None:
        """None, or why the message was not taken. What the server says is not repeated: it may quote what it got."""
        try:
            self._talk()
        except smtplib.SMTPAuthenticationError:
            return Unsent("the mail server does not accept the user or password of smtp_url")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return Unsent("the mail server takes nothing for these addresses", final=all(code >= 500 for code in codes))
        except smtplib.SMTPResponseException as error:
            return Unsent(f"the mail server answered {error.smtp_code}", final=error.smtp_code >= 500)
        except smtplib.SMTPNotSupportedError:
            return Unsent("the mail server offers no STARTTLS, or no login")
        except Exception as error:  # noqa: BLE001 - whatever it is, the message is tried again
            return Unsent(f"the mail server cannot be reached ({type(error).__name__})")
        finally:
            if self._client is not None:
                self._client.close()
        return None

    def hang_up(self) -> None:
        """End the conversation from outside."""
        sock = getattr(self._client, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _talk(self) -> None:
        server, wait, name = self._server, self._timeout_s, socket.gethostname()
        secure = ssl.create_default_context()
        client: smtplib.SMTP
        if server.security == "tls":
            self._client = client = smtplib.SMTP_SSL(local_hostname=name, timeout=wait, context=secure)
        else:
            self._client = client = smtplib.SMTP(local_hostname=name, timeout=wait)
        client._host = server.host  # type: ignore[attr-defined]  # whose name the certificate must bear
        code, _ = client.connect(server.host, server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, b"")
        if server.security == "starttls":
            client.starttls(context=secure)
        if server.user:
            client.login(server.user, server.password)
        client.send_message(self._message)
        with suppress(smtplib.SMTPException, OSError):
            client.quit()


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
