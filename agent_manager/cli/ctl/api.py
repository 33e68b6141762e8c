"""Requests to the management API; whatever goes wrong becomes one readable error."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from agent_manager.cli.ctl import http, unreachable
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode, exit_code_of
from agent_manager.cli.ctl.http import Answer, Http, InvalidUrlError, Parameters
from agent_manager.nats_access.cancellation import heed_cancellation
from agent_manager.protocol.messages import Message
from agent_manager.protocol.operations import MAX_PAGE_SIZE
from agent_manager.protocol.subjects import token

PREFIX = "/api/v1"
ANSWER_TIMEOUT_S = 30.0
"""How long the API may take to answer, added to what a command waits."""
PATIENCE_S = 5.0
"""How long a question is asked again while no manager answers: one that was killed is replaced meanwhile."""
RETRY_S = 0.2
SILENCE_S = 60.0
"""An event stream that is silent for longer, comments included, has been lost."""

M = TypeVar("M", bound=Message)


class _Page(Message):
    """Any list; its items are left as they came."""

    items: list[Any]
    next_page_token: str | None


class Api:
    """One API. Every method raises AgentctlError."""

    def __init__(self, client: Http, url: str) -> None:
        self._http = client
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

    async def post(self, path: str, *, wait_s: float | None = None) -> Any:
        """Ask for a change, and for the answer to be held until it is done or `wait_s` are over, if that can be."""
        parameters = {} if wait_s is None else {"wait": wait_s}
        return await self._answer("POST", path, parameters, (wait_s or 0.0) + ANSWER_TIMEOUT_S)

    async def all_pages(self, path: str, *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """A list in one piece, in the shape of its pages."""
        items: list[Any] = []
        page_token: str | None = None
        while True:
            parameters: dict[str, str | int] = {"page_size": MAX_PAGE_SIZE}
            if page_token is not None:
                parameters["page_token"] = page_token
            page = understood(_Page, await self.get(path, parameters, patience_s=patience_s))
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
        with self._explained(SILENCE_S):
            async with self._http.stream(
                "GET", PREFIX + path, parameters, timeout_s=SILENCE_S, headers=headers
            ) as response:
                if not 200 <= response.status < 300:
                    raise self._refused(await http.read(response))
                yield http.lines(response.aiter_stream())

    async def _answer(self, method: str, path: str, parameters: Parameters, timeout_s: float) -> Any:
        with self._explained(timeout_s):
            answer = await self._http.request(method, PREFIX + path, parameters, timeout_s=timeout_s)
        if not answer.is_success:
            raise self._refused(answer)
        return self._json(answer)

    @contextmanager
    def _explained(self, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except unreachable.FAILURES as error:
            # What is cancelled may fail while it closes its connection, which must not look like a lost one.
            heed_cancellation()
            raise unreachable.explained(error, self._url, timeout_s=timeout_s) from error

    def _refused(self, answer: Answer) -> AgentctlError:
        problem = self._json(answer)
        if not isinstance(problem, dict) or not {"code", "detail"} <= problem.keys():
            raise self._stranger(answer)
        return AgentctlError(str(problem["detail"]), exit_code_of(str(problem["code"])), problem=problem)

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise self._stranger(answer) from error

    def _stranger(self, answer: Answer) -> AgentctlError:
        return AgentctlError(
            f"what answers at {self._url} is not the management API (HTTP {answer.status}, "
            f"{answer.content_type or 'no content type'}); name the right one with --api-url",
            ExitCode.UNREACHABLE,
        )


@asynccontextmanager
async def connected_to(url: str) -> AsyncIterator[Api]:
    """An API client for the time of a block. Raises AgentctlError for a URL that is none."""
    try:
        client = Http(url)
    except InvalidUrlError as error:
        raise AgentctlError(f"{url!r} is not a URL of an API: {error}", ExitCode.USAGE) from error
    async with aclosing(client):
        yield Api(client, url)


def agent_path(agent_id: str, verb: str | None = None) -> str:
    """The path of an agent, or of something it can be asked. Raises AgentctlError for what cannot be an id."""
    try:
        path = f"/agents/{token(agent_id)}"
    except ValueError as error:
        words = f"{agent_id!r} cannot be the id of an agent: these are lower-case letters, digits and hyphens, see `ls`"
        raise AgentctlError(words, ExitCode.USAGE) from error
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
