"""The program as an operator meets it: settings, log, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import management_api
from tests.harness.nats_server import NatsHarness
from tests.harness.waiting import eventually, wait_until

SOURCES = str(Path(management_api.__file__).parents[1])


@contextmanager
def program(log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program with these settings, and nothing else in its environment; killed with the block."""
    environment = {f"MANAGEMENT_API_{name.upper()}": value for name, value in settings.items()}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "management_api"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": SOURCES, **environment},
            stderr=stderr,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines_of(log: Path) -> list[dict[str, Any]]:
    """The log as objects; every line must be one."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def address_in(log: Path) -> str | None:
    """Where the program listens, once it has said so."""
    words = " ".join(str(line.get("message", "")) for line in lines_of(log))
    return f"http://{words.partition('running on http://')[2].split()[0]}" if "running on" in words else None


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_in_order_although_a_stream_is_open(
    nats: NatsHarness, tmp_path: Path, how: signal.Signals
) -> None:
    log = tmp_path / "api.log"
    credentials = str(nats.files.api_credentials)
    with program(log, service_port="0", nats_url=nats.url, nats_creds=credentials) as process:
        url = await eventually(lambda: address_in(log))
        await eventually(lambda: any(line["event"] == "bus_connected" for line in lines_of(log)))
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
            http.stream("GET", "/api/v1/events") as stream,
        ):
            lines = stream.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == [": connected", "", "id: 0"]
            process.send_signal(how)
            assert [line async for line in lines if line] == []
        await eventually(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert [line for line in lines_of(log) if line["level"] in ("warning", "error")] == []


def test_without_a_bus_it_says_so_once_and_lives(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with program(log, service_port="0", nats_url="nats://user:hunter2@127.0.0.1:1") as process:
        wait_until(lambda: address_in(log))
        wait_until(lambda: any(line["event"] == "bus_unreachable" for line in lines_of(log)))
        assert httpx.get(f"{address_in(log)}/healthz", trust_env=False).status_code == 200
        assert process.poll() is None
    assert "hunter2" not in log.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_an_address_others_could_reach_stops_the_start_with_words(tmp_path: Path, host: str) -> None:
    log = tmp_path / "api.log"
    with program(log, service_host=host) as process:
        assert process.wait(timeout=60) == 2
    assert log.read_text().startswith("management-api: environment MANAGEMENT_API_SERVICE_HOST: ")
    assert "no authentication" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("nats_url", ["nats://127.0.0.1:1", "nats://192.0.2.1:4222"])
def test_an_address_that_is_taken_ends_it_with_words(tmp_path: Path, nats_url: str) -> None:
    log = tmp_path / "api.log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with program(log, service_port=port, nats_url=nats_url) as process:
            assert process.wait(timeout=60) == 3
    assert "address already in use" in log.read_text()


def test_a_file_is_read_and_read_again_on_hangup(tmp_path: Path) -> None:
    log, file = tmp_path / "api.log", tmp_path / "api.yaml"
    file.write_text("service:\n  port: 0\n  log_level: INFO\n")
    with program(log, config=str(file)) as process:
        wait_until(lambda: address_in(log))
        file.write_text("service:\n  port: 1\n  log_level: DEBUG\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(line["event"] == "setting_waits_for_start" for line in lines_of(log)))
        assert process.poll() is None
    said = {line["setting"]: line["event"] for line in lines_of(log) if "setting" in line}
    assert said == {"service.log_level": "setting_changed", "service.port": "setting_waits_for_start"}


def test_words_it_does_not_know_stop_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "management_api", "--port", "1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "management-api: usage: management-api [--config FILE]\n",
    )
