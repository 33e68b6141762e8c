"""Pages of other sites get nowhere, though everybody on this machine does."""

from __future__ import annotations

from tests.harness.fake_manager import FakeManager
from tests.harness.live_api import LiveApi


async def test_this_machines_names_are_answered_to(api: LiveApi) -> None:
    own = f":{api.port}"
    for host in ("localhost", f"LocalHost{own}", f"127.0.0.1{own}", f"[::1]{own}", "[::1]"):
        answer = await api.http.get("/healthz", headers={"Host": host})
        assert answer.status_code == 200, host


async def test_a_foreign_host_is_refused(api: LiveApi, manager: FakeManager) -> None:
    for host in ("", "evil.example", f"evil.example:{api.port}", "localhost.evil.example", "[", "127.0.0.2"):
        answer = await api.http.get("/api/v1/agents", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), host
        assert answer.headers["content-type"] == "application/problem+json"
    assert manager.received == []


async def test_a_change_asked_for_by_another_site_is_refused(api: LiveApi, manager: FakeManager) -> None:
    other_port, other_name = "http://127.0.0.1", f"http://localhost:{api.port}"
    other_scheme = f"https://127.0.0.1:{api.port}"
    for origin in ("https://evil.example", "null", "", other_port, other_name, other_scheme):
        answer = await api.http.post("/api/v1/agents/echo/stop", headers={"Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), origin
    assert manager.received == []


async def test_a_change_asked_for_by_this_site_is_taken(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.post("/api/v1/agents/echo/stop", headers={"Origin": api.url})
    assert answer.status_code == 200


async def test_no_other_site_may_read(api: LiveApi, manager: FakeManager) -> None:
    answer = await api.http.get("/api/v1/agents", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = await api.http.options("/api/v1/agents", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 405
