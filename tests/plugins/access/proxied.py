"""A caller behind a proxy that the gateway trusts: any address, any scheme, and cookies as a browser keeps them."""

import http.client
import json
import urllib.parse


class Browser:
    """One browser at one address. `https` is what the proxy says."""

    def __init__(self, url, address="198.51.100.1", https=True, host="gateway.example"):
        self.netloc = urllib.parse.urlsplit(url).netloc
        self.address, self.https, self.host = address, https, host
        self.cookies = {}
        self.csrf = None

    @property
    def origin(self):
        return f"{'https' if self.https else 'http'}://{self.host}"

    def __call__(self, method, path, body=None, **headers):
        """Status, headers, body. Header names with `_` for `-`; None leaves one out."""
        given = {
            "host": self.host,
            "x-forwarded-for": self.address,
            "x-forwarded-proto": "https" if self.https else "http",
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()) or None,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            given.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection(self.netloc, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            if data is not None:
                connection.putheader("content-length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            text = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders()}
            if cookie := told.get("set-cookie"):
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, told, json.loads(text) if text.startswith((b"{", b"[")) else text
        finally:
            connection.close()

    def log_in(self, key, **headers):
        answer = self("POST", "/auth/login", {"api_key": key}, **{"origin": self.origin, **headers})
        if answer[0] == 200:
            self.csrf = answer[2]["csrf"]
        return answer

    def change(self, method, path, body=None, **headers):
        """A call that the page makes: with its token and origin."""
        return self(method, path, body, **{"origin": self.origin, "x_csrf_token": self.csrf, **headers})
