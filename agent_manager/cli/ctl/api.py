"""Requests to the management API; whatever goes wrong becomes one readable error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from agent_manager.cli.ctl.failures import AgentctlError, ExitCode, exit_code_of
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import MAX_PAGE_SIZE
from agent_manager.protocol.subjects import token

PREFIX = "/api/v1"
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
"""How long the API may take to answer, added to what a command waits."""
PATIENCE_S = 5.0
"""How long a question is asked again while no manager answers: one that was killed is replaced meanwhile."""
RETRY_S = 0.2
SILENCE_S = 60.0
"""An event stream that is silent for longer, comments included, has been lost."""
CONNECTIONS = 16

Parameters = Mapping[str, str | int | float]
M = TypeVar("M", bound=Message)


class _Page(Message):
    """Any list; its items are left as they came."""

    items: list[Any]
    next_page_token: str | None


class Api:
    """One API. Every method raises AgentctlError."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def get(self, path: str, parameters: Parameters | None = None, *, patience_s: float = PATIENCE_S) -> Any:
        """The JSON at `path`, below the prefix; what may succeed later is asked again for `patience_s`."""
        give_up_at = time.monotonic() + patience_s
        while True:
            try:
                return await self._answer("GET", path, parameters or {}, ANSWER_TIMEOUT_S)
            except AgentctlError as error:
                if not (error.problem or {}).get("retryable") or time.monotonic() >= give_up_at:
                    raise
            await asyncio.sleep(RETRY_S)

    async def post(self, path: str, *, wait_s: float) -> Any:
        """Ask for a change, and for the answer to be held until it is done or `wait_s` are over."""
        return await self._answer("POST", path, {"wait": wait_s}, wait_s + ANSWER_TIMEOUT_S)

    async def all_pages(self, path: str) -> dict[str, Any]:
        """A list in one piece, in the shape of its pages."""
        items: list[Any] = []
        page_token: str | None = None
        while True:
            parameters: dict[str, str | int] = {"page_size": MAX_PAGE_SIZE}
            if page_token is not None:
                parameters["page_token"] = page_token
            page = understood(_Page, await self.get(path, parameters))
            items.extend(page.items)
            page_token = page.next_page_token
            if page_token is None:
                return page.model_copy(update={"items": items}).model_dump()

    @asynccontextmanager
    async def lines(
        self, path: str, parameters: Parameters, *, last_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer that does not end by itself, after the event `last_id`."""
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
        with self._explained():
            async with self._http.stream(
                "GET", PREFIX + path, params=parameters, headers=headers, timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise self._refused(response)
                yield response.aiter_lines()

    async def _answer(self, method: str, path: str, parameters: Parameters, timeout_s: float) -> Any:
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=None)
        with self._explained():
            response = await self._http.request(method, PREFIX + path, params=parameters, timeout=timeout)
        if response.is_error:
            raise self._refused(response)
        return self._json(response)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx.UnsupportedProtocol as error:
            raise AgentctlError(f"{self._url!r} is not a URL of an API: {error}", ExitCode.USAGE) from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise AgentctlError(
                f"the API at {self._url} cannot be reached ({why}); is `agent-manager up` running? "
                "If it is elsewhere, name it with --api-url",
                ExitCode.UNREACHABLE,
            ) from error

    def _refused(self, response: httpx.Response) -> AgentctlError:
        problem = self._json(response)
        if not isinstance(problem, dict) or not {"code", "detail"} <= problem.keys():
            raise self._stranger(response)
        return AgentctlError(str(problem["detail"]), exit_code_of(str(problem["code"])), problem=problem)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise self._stranger(response) from error

    def _stranger(self, response: httpx.Response) -> AgentctlError:
        return AgentctlError(
            f"what answers at {self._url} is not the management API (HTTP {response.status_code}, "
            f"{response.headers.get('content-type', 'no content type')}); name the right one with --api-url",
            ExitCode.UNREACHABLE,
        )


@asynccontextmanager
async def connected_to(url: str) -> AsyncIterator[Api]:
    """An API client for the time of a block. Raises AgentctlError for a URL that is none."""
    limits = httpx.Limits(max_connections=CONNECTIONS)
    try:
        # Without trust_env: a proxy meant for the internet cannot reach this machine's loopback addresses.
        http = httpx.AsyncClient(base_url=url, limits=limits, trust_env=False)
    except httpx.InvalidURL as error:
        raise AgentctlError(f"{url!r} is not a URL of an API: {error}", ExitCode.USAGE) from error
    async with http:
        yield Api(http, url)


def agent_path(agent_id: str, verb: str | None = None) -> str:
    """The path of an agent, or of something it can be asked. Raises AgentctlError for what cannot be an id."""
    try:
        path = f"/agents/{token(agent_id)}"
    except ValueError as error:
        raise AgentctlError(f"{agent_id!r} cannot be the id of an agent: {error}", ExitCode.USAGE) from error
    return path if verb is None else f"{path}/{verb}"


def understood(model: type[M], document: Any) -> M:
    """The document as a value of the wire. Raises AgentctlError when it is none."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise AgentctlError(
            f"the API's answer is not a {model.__name__} as this agentctl knows it; do the two differ in release? "
            "--json shows what came",
            ExitCode.FAILED,
        ) from error
