"""A real mail server on loopback, and one that says nothing."""

import socket
import ssl
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from ipaddress import ip_address

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "asahi", "p@ss:word/canary-Zq8Lw3"


class Inbox:
    """Keeps what it is sent; answers `replies` first, one for each message."""

    def __init__(self):
        self.envelopes = []
        self.logins = []
        self.replies = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the name is the library's
        if self.replies and (reply := self.replies.pop(0)):
            return reply
        self.envelopes.append(envelope)
        return "250 OK"

    def check(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login.decode(), session.ssl is not None))
        right = data.login.decode() == USER and data.password.decode() == PASSWORD
        return AuthResult(success=right, handled=right)

    @property
    def messages(self):
        return [message_from_bytes(each.content, policy=policy.default) for each in self.envelopes]

    @property
    def subjects(self):
        return [each["subject"] for each in self.messages]


class Post(Controller):
    def __init__(self, inbox, **options):
        self.inbox, self.options, self.line = inbox, options, options.pop("line", None)
        super().__init__(inbox, hostname="127.0.0.1", port=free_port(), ssl_context=self.line)

    def _trigger_server(self):
        """The first call, which the controller waits for; over TLS it would not trust our certificate."""
        with socket.create_connection((self.hostname, self.port), 5) as call:
            if self.line is not None:
                trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
                call = trusting.wrap_socket(call)
            call.recv(1_024)
            call.close()

    def factory(self):
        return SMTP(self.inbox, authenticator=self.inbox.check, **self.options)


@contextmanager
def posting(**options):
    inbox = Inbox()
    controller = Post(inbox, **options)
    controller.start()
    inbox.port = controller.port
    try:
        yield inbox
    finally:
        controller.stop()


@contextmanager
def silence():
    """A server that takes the call, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def certified(folder, name="127.0.0.1"):
    """A server's context and the path of the authority to trust for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, secret = folder / "ca.pem", folder / "key.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, secret)
    return context, authority
