"""The program `management-api`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from agent_manager.configuration.live import Live
from agent_manager.configuration.loading import ConfigurationError
from agent_manager.nats_access.errors import AccessError
from agent_manager.protocol.release import release
from agent_manager.telemetry import log_lines, spans
from management_api.app import create_app
from management_api.exit_codes import ExitCode
from management_api.manager_client import ManagerClient
from management_api.server import ApiServer
from management_api.settings import API


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 2, and says why, when a setting is wrong."""
    try:
        config = _config(sys.argv[1:])
        live = Live(API, API.load(os.environ, config=config), config=config)
    except ConfigurationError as error:
        sys.stderr.writelines(f"management-api: {fault}\n" for fault in error.faults)
        sys.exit(ExitCode.BAD_SETTINGS)
    settings = live.now
    service = settings.service
    log_lines.configure(service.log_level, service.log_format)
    live.log_unused()

    def read_settings_again(signal_number: int, frame: FrameType | None) -> None:
        live.reload_and_log(os.environ)
        log_lines.set_level(live.now.service.log_level)

    signal.signal(signal.SIGHUP, read_settings_again)
    try:
        manager = ManagerClient(settings)
    except AccessError as error:
        sys.stderr.write(f"management-api: {error}\n")
        sys.exit(ExitCode.BAD_SETTINGS)
    recording = spans.of_environment(os.environ, service=service.name, version=release())
    try:
        ApiServer(create_app(manager, settings, recording), manager, settings).run()
    finally:
        recording.close()


def _config(arguments: list[str]) -> Path | None:
    match arguments:
        case []:
            return None
        case ["--config", path]:
            return Path(path)
        case _:
            raise ConfigurationError(("usage: management-api [--config FILE]",))


if __name__ == "__main__":
    main()
