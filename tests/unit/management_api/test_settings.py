"""Settings of the management API."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from management_api.settings import Settings, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_addresses_are_taken(host: str) -> None:
    assert Settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "example.org", "", "[::1]"])
def test_other_addresses_are_not(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValidationError, match="no authentication"):
        Settings(host=host)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_API_PORT", "8123")
    monkeypatch.setenv("MANAGEMENT_API_NATS_URL", "nats://bus:4222")
    settings = Settings()
    assert (settings.port, settings.nats_url) == (8123, "nats://bus:4222")


@pytest.mark.parametrize(
    "values",
    [
        {"port": 65_536},
        {"port": -1},
        {"request_timeout_s": 0},
        {"request_timeout_s": float("nan")},
        {"keep_alive_s": 0},
    ],
)
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(values)
