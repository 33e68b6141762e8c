"""Pages of other sites get nowhere, though everybody on this machine does."""

from __future__ import annotations

import pytest

from tests.harness.fake_manager import FakeManager
from tests.harness.live_api import LiveApi


@pytest.mark.parametrize("host", ["localhost", "LocalHost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "[::1]"])
async def test_this_machines_names_are_answered_to(api: LiveApi, host: str) -> None:
    answer = await api.http.get("/healthz", headers={"Host": host.format(port=api.port)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:{port}", "localhost.evil.example", "[", "127.0.0.2"]
)
async def test_a_foreign_host_is_refused(api: LiveApi, manager: FakeManager, host: str) -> None:
    answer = await api.http.get("/api/v1/agents", headers={"Host": host.format(port=api.port)})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.headers["content-type"] == "application/problem+json"
    assert manager.received == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "", "http://127.0.0.1", "http://localhost:{port}", "https://{own}"]
)
async def test_a_change_asked_for_by_another_site_is_refused(api: LiveApi, manager: FakeManager, origin: str) -> None:
    own = f"127.0.0.1:{api.port}"
    headers = {"Origin": origin.format(port=api.port, own=own)}
    answer = await api.http.post("/api/v1/agents/echo/stop", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert manager.received == []


async def test_a_change_asked_for_by_this_site_is_taken(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.post("/api/v1/agents/echo/stop", headers={"Origin": api.url})
    assert answer.status_code == 200


async def test_no_other_site_may_read(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.get("/api/v1/agents", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = await api.http.options("/api/v1/agents", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 405
