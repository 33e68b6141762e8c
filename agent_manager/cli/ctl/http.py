"""HTTP as far as `agentctl` needs it: requests to one address, over httpcore.

Not over httpx, which imports a command line of its own as well.
"""

from __future__ import annotations

import codecs
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

import httpcore

CONNECT_TIMEOUT_S = 5.0
CONNECTIONS = 16
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""No page of the API comes near; something else at the address might never end."""
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}

Parameters = Mapping[str, str | int | float]


class InvalidUrlError(ValueError):
    """What was given is not the URL of an API."""


class AnswerTooLargeError(Exception):
    """An answer has more than MAX_ANSWER_BYTES."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in full."""

    status: int
    content_type: str
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300


class Http:
    """Requests below one URL. Raises what httpcore raises."""

    def __init__(self, url: str) -> None:
        """Raises InvalidUrlError."""
        parts = _parsed(url)
        self._scheme, self._host, self._netloc = (
            parts.scheme.encode(),
            _ascii(parts.hostname or ""),
            _ascii(parts.netloc),
        )
        self._port, self._path = parts.port, parts.path.rstrip("/")
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=CONNECTIONS,
            # That of the system, which people know how to add to, in place of a list that comes with a package.
            ssl_context=ssl.create_default_context() if parts.scheme == "https" else None,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def request(self, method: str, path: str, parameters: Parameters, *, timeout_s: float) -> Answer:
        """One request and its answer. Raises AnswerTooLargeError."""
        async with self.stream(method, path, parameters, timeout_s=timeout_s) as response:
            return await read(response)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpcore.Response]:
        """One request, whose answer is read by the caller; `timeout_s` bounds each silence in it."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        url = httpcore.URL(
            scheme=self._scheme, host=self._host, port=self._port, target=f"{self._path}{path}{query}".encode()
        )
        timeout = {"connect": CONNECT_TIMEOUT_S, "read": timeout_s, "write": timeout_s, "pool": None}
        sent = [(b"Host", self._netloc), *((k.encode(), v.encode()) for k, v in (headers or {}).items())]
        content = b"" if method == "POST" else None
        async with self._pool.stream(
            method, url, headers=sent, content=content, extensions={"timeout": timeout}
        ) as response:
            yield response


async def read(response: httpcore.Response) -> Answer:
    """The whole of an answer. Raises AnswerTooLargeError."""
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerTooLargeError
    content_type = next((v.decode("latin-1") for k, v in response.headers if k.lower() == b"content-type"), "")
    return Answer(response.status, content_type, bytes(body))


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The lines of a stream, without their ends (CR LF or LF); what follows the last one is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    async for chunk in chunks:
        *whole, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in whole:
            yield line.removesuffix("\r")


def _ascii(host: str) -> bytes:
    try:
        return host.encode("idna")
    except UnicodeError as error:
        raise InvalidUrlError(f"{host!r} is not the name of a host") from error


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise InvalidUrlError(str(error)) from error
    if not is_usable:
        raise InvalidUrlError("it should look like http://127.0.0.1:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidUrlError("user, query and fragment mean nothing here")
    return parts
