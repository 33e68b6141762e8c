"""A request to the managers, and the watch over those who could have it."""

from __future__ import annotations

import asyncio

import pytest

from agent_manager.protocol import operations, subjects
from agent_manager.protocol.errors import ErrorCode, RequestFailedError
from management_api import manager_client
from management_api.manager_client import ManagerClient
from management_api.settings import Settings
from tests.harness.answered_by_hand import AnsweredByHand
from tests.harness.waiting import eventually

ASKED = subjects.api_operation(operations.AGENTS_GET.resource, operations.AGENTS_GET.verb)
WATCHED = subjects.api_operation(operations.NODES_LIST.resource, operations.NODES_LIST.verb)


@pytest.mark.parametrize("order", [(ASKED, WATCHED), (WATCHED, ASKED)], ids=["answer first", "watch first"])
@pytest.mark.parametrize("between", range(7))
async def test_the_watch_ends_with_the_request_however_close_their_answers_come(
    monkeypatch: pytest.MonkeyPatch, order: tuple[str, str], between: int
) -> None:
    bus = AnsweredByHand()
    managers = ManagerClient(Settings())
    monkeypatch.setattr(managers, "check_connected", lambda: bus)
    monkeypatch.setattr(manager_client, "WATCH_S", 0.0)
    call = asyncio.create_task(managers.call(operations.AGENTS_GET))
    await eventually(lambda: {ASKED, WATCHED} <= bus.asked.keys())
    first, second = order
    bus.answer(first)
    for _ in range(between):
        await asyncio.sleep(0)
    bus.answer(second)
    async with asyncio.timeout(20):
        await asyncio.wait([call])
    error = call.exception()
    assert isinstance(error, RequestFailedError)
    # The answer, which is none, and not that of the watch.
    assert error.code is ErrorCode.INTERNAL
