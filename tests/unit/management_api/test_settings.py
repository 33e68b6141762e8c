"""Settings of the management API."""

from __future__ import annotations

import pytest

from agent_manager.configuration.loading import ConfigurationError
from management_api.settings import API, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_addresses_are_taken(host: str) -> None:
    assert API.load({"MANAGEMENT_API_SERVICE_HOST": host}).settings.service.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "example.org", "[::1]"])
def test_other_addresses_are_not(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError, match="no authentication"):
        API.load({"MANAGEMENT_API_SERVICE_HOST": host})


def test_settings_come_from_the_environment() -> None:
    settings = API.load(
        {"MANAGEMENT_API_SERVICE_PORT": "8123", "MANAGEMENT_API_NATS_URL": "nats://bus:4222, nats://other:4222"}
    ).settings
    assert settings.service.port == 8123
    assert settings.nats.access({}).access.servers == ("nats://bus:4222", "nats://other:4222")


def test_without_a_server_it_is_the_one_of_this_host() -> None:
    assert API.load({}).settings.nats.access({}).access.servers == ("nats://127.0.0.1:4222",)


@pytest.mark.parametrize(
    "variables",
    [
        {"MANAGEMENT_API_SERVICE_PORT": "65536"},
        {"MANAGEMENT_API_SERVICE_PORT": "-1"},
        {"MANAGEMENT_API_SERVICE_REQUEST_TIMEOUT": "0"},
        {"MANAGEMENT_API_SERVICE_REQUEST_TIMEOUT": "nan"},
        {"MANAGEMENT_API_STREAMS_KEEP_ALIVE": "0"},
    ],
)
def test_impossible_values_are_refused_by_the_name_of_their_variable(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=f"environment {next(iter(variables))}: .* must be "):
        API.load(variables)
