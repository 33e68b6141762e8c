"""The program `management-api`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from agent_manager.configuration.live import Live
from agent_manager.configuration.loading import ConfigurationError
from management_api.app import create_app
from management_api.log_output import log_to_stderr
from management_api.manager_client import ManagerClient
from management_api.server import ApiServer
from management_api.settings import API

EXIT_BAD_SETTINGS = 2


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 2, and says why, when a setting is wrong."""
    try:
        config = _config(sys.argv[1:])
        live = Live(API, API.load(os.environ, config=config), config=config)
    except ConfigurationError as error:
        sys.stderr.writelines(f"management-api: {fault}\n" for fault in error.faults)
        sys.exit(EXIT_BAD_SETTINGS)
    settings = live.now
    log_to_stderr(settings.service.log_level)
    live.log_unused()

    def read_settings_again(signal_number: int, frame: FrameType | None) -> None:
        live.reload_and_log(os.environ)
        logging.getLogger().setLevel(live.now.service.log_level)

    signal.signal(signal.SIGHUP, read_settings_again)
    manager = ManagerClient(settings)
    ApiServer(create_app(manager, settings), manager, settings).run()


def _config(arguments: list[str]) -> Path | None:
    match arguments:
        case []:
            return None
        case ["--config", path]:
            return Path(path)
        case _:
            raise ConfigurationError((f"usage: management-api [--config FILE], not {' '.join(arguments)}",))


if __name__ == "__main__":
    main()
