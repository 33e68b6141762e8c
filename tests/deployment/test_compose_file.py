"""The Compose file fits the Compose specification, and what it refers to exists."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.harness.deployment import DEPLOY, LAUNCHER_STOP_MAX_S, installed, run

FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("node", "api")

MONITORING = ("./prometheus", "./grafana/")
"""What Prometheus and Grafana are given: their tests look at it."""


def test_it_fits_the_compose_specification() -> None:
    run(installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE)


def test_it_is_clean_yaml() -> None:
    run(installed("yamllint"), "--strict", "--config-file", DEPLOY.parent / ".yamllint", FILE)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        if not source.startswith("."):
            assert source in COMPOSE["volumes"]
        elif not source.startswith(MONITORING):
            assert (DEPLOY / source).exists()
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    for needed, condition in dict(service["depends_on"]).items() if isinstance(service.get("depends_on"), dict) else ():
        assert condition == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[needed]


@pytest.mark.parametrize("name", OURS)
def test_our_own_are_built_from_a_target_of_the_dockerfile_and_confined(name: str) -> None:
    service = SERVICES[name]
    dockerfile = (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert f" AS {service['build']['target']}\n" in dockerfile
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_listens_beyond_this_host(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_no_password_stands_in_it_and_each_is_in_the_example() -> None:
    text = FILE.read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    example = (DEPLOY / "compose.env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == wanted
    passwords = [
        value
        for service in SERVICES.values()
        for key, value in service.get("environment", {}).items()
        if "PASSWORD" in key
    ]
    assert len(passwords) >= 6
    assert all(value.startswith("${") for value in passwords)


def test_the_node_is_given_longer_for_its_end_than_the_launcher_takes() -> None:
    assert int(SERVICES["node"]["stop_grace_period"].removesuffix("s")) > LAUNCHER_STOP_MAX_S
