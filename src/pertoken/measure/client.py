"""The client of a probe: one address, asked for by the user, and no other.

A redirect to another host is refused, and the key goes nowhere else. Proxies and key files of the environment are not
used. The key is read from a variable of the environment and never written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from pertoken.errors import PertokenError
from pertoken.measure.stream import Failure, Heard

MOST_REDIRECTS = 3
BUSY = (408, 425, 429, 500, 502, 503, 504, 529)
MOST_ERROR = 2000  # bytes of an error that are read
MOST_PAGE = 16 * 2**20
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ENDS = ("/chat/completions", "/completions", "/metrics", "/v1")


def need_httpx() -> Any:
    """The HTTP library, or a sentence on how to install it."""
    try:
        import httpx
    except ImportError as error:
        raise PertokenError(
            "measuring a server needs httpx; install it with: pip install 'pertoken[measure]'"
        ) from error
    return httpx


def base_of(text: str) -> str:
    """The address of a server, without what clients append to it.

    Raises
    ------
    PertokenError
        When it is no plain http or https address.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError as error:
        raise PertokenError(f"{text[:100]!r} has no valid port; write it such as http://127.0.0.1:8000") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        raise PertokenError(f"{text[:100]!r} is no address; write one such as http://127.0.0.1:8000")
    if parts.username or parts.password:
        raise PertokenError(
            "an address with a user or password is refused: put the key into a variable and name it by --key-env"
        )
    if parts.query or parts.fragment:
        raise PertokenError(f"{text[:100]!r} has a query; give the server's address alone")
    path = parts.path.rstrip("/")
    for end in _ENDS:
        path = path.removesuffix(end)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


def is_local(base: str) -> bool:
    """Whether an address is of this machine."""
    return urlsplit(base).hostname in LOOPBACK


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True)
class Prompt:
    """What to send.

    Parameters
    ----------
    content : list of int or str
        Token ids, or text.
    output : int
        Tokens to ask for [token].
    """

    content: list[int] | str
    output: int


@dataclass
class Client:
    """Asks one server.

    Parameters
    ----------
    base, model : str
        Its address, and the model's name there.
    chat : bool
        Whether prompts go as messages.
    key : str
        Sent to this server alone.
    timeout : float
        Longest silence of the server [s].
    dropped : set of str
        Fields that the server refused, which are then left out.
    refused_ids : bool
        Whether it would not take a prompt of token ids.
    """

    base: str
    model: str = ""
    chat: bool = False
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    dropped: set[str] = field(default_factory=set)
    refused_ids: bool = False
    _http: Any = field(default=None, repr=False)

    async def __aenter__(self) -> Client:
        httpx = need_httpx()
        # llama.cpp's server drops pooled connections, so none is kept
        self._http = httpx.AsyncClient(
            timeout=self.timeout, trust_env=False, follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0, max_connections=256),
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        told = {"messages": [{"role": "user", "content": prompt.content}]} if self.chat else {"prompt": prompt.content}
        body = told | {
            "model": self.model, "max_tokens": prompt.output, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, "ignore_eos": True,
        }  # fmt: skip
        return {key: value for key, value in body.items() if key not in self.dropped}

    async def ask(self, prompt: Prompt, deadline: float) -> tuple[float, Heard]:
        """When the prompt was sent, and what the server streamed; clock of `time.monotonic`.

        Raises
        ------
        Failure
            With the reason, and whether it may be tried again.
        """
        httpx = need_httpx()
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failure("time is up")
        try:
            async with asyncio.timeout(min(left, self.timeout * 4)):
                return await self._streamed(prompt)
        except TimeoutError as error:
            raise Failure("no end within the time given") from error
        except httpx.TimeoutException as error:
            raise Failure(f"silent for {self.timeout:g} s") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failure("no connection", again=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Failure("the connection was dropped", again=True) from error

    async def _streamed(self, prompt: Prompt) -> tuple[float, Heard]:
        url = f"{self.base}/v1/{'chat/completions' if self.chat else 'completions'}"
        for _ in range(MOST_REDIRECTS + 1):
            heard, sent = Heard(), time.monotonic()
            async with self._http.stream("POST", url, json=self._body(prompt), headers=self._headers()) as response:
                if response.is_redirect or 300 <= response.status_code < 400:
                    url = self._moved(url, response)
                    continue
                await self._refuse(response)
                async for part in response.aiter_bytes():
                    heard.feed(part, time.monotonic())
                return sent, heard
        raise Failure(f"more than {MOST_REDIRECTS} redirects")

    def _moved(self, url: str, response: Any) -> str:
        """Where a redirect leads, if that is the same server."""
        target: str = urljoin(url, str(response.headers.get("location", "")))
        if response.status_code not in (307, 308) or origin(target) != origin(self.base):
            host = urlsplit(target).hostname or "nowhere"
            raise Failure(f"a redirect (status {response.status_code}) to {host[:60]}, refused")
        return target

    async def _refuse(self, response: Any) -> None:
        """Raise where the status is not that of a stream."""
        status = response.status_code
        if status == 200:
            if "event-stream" not in response.headers.get("content-type", "text/event-stream"):
                raise Failure("the server did not stream")
            return
        said = b""
        async for part in response.aiter_bytes():
            said += part
            if len(said) >= MOST_ERROR:
                break
        words = said[:MOST_ERROR].decode(errors="replace")
        if status in (400, 422):
            if not self.chat and "token" in words.lower() and "max_tokens" not in words:
                self.refused_ids = True
            for name in ("ignore_eos", "stream_options"):
                if name in words and name not in self.dropped:
                    self.dropped.add(name)
                    raise Failure(f"status {status}: {name} is not known", again=True)
        if status in BUSY:
            raise Failure(f"status {status}", again=True, wait=_retry_after(response.headers))
        hint = {401: ": is the key right (--key-env)?", 403: ": is the key right (--key-env)?",
                404: ": is the model's name right, or does it need --chat?"}.get(status, _short(words, self.key))  # fmt: skip
        raise Failure(f"status {status}{hint}")

    async def page(self, path: str) -> str:
        """The text of a page of the same server.

        Raises
        ------
        Failure
            With the reason.
        """
        httpx = need_httpx()
        try:
            async with self._http.stream("GET", self.base + path, headers=self._headers()) as response:
                if response.status_code != 200:
                    raise Failure(f"status {response.status_code}", again=response.status_code in BUSY)
                parts, size = [], 0
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MOST_PAGE:
                        raise Failure(f"a page of more than {MOST_PAGE:,} bytes")
                return b"".join(parts).decode(errors="replace")
        except httpx.TimeoutException as error:
            raise Failure(f"silent for {self.timeout:g} s", again=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Failure("no connection", again=True) from error


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a busy server asks to wait; dates are not read [s]."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 5 else 0.0


def _short(words: str, key: str) -> str:
    """The start of a server's own words, without the key should it repeat it."""
    plain = "".join(c if c.isprintable() else " " for c in words)
    if key:
        plain = plain.replace(key, "[key]")
    return f": {' '.join(plain.split())[:160]}" if plain.strip() else ""
