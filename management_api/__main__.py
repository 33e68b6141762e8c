"""The program `management-api`."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from management_api.app import create_app
from management_api.log_output import log_to_stderr
from management_api.manager_client import ManagerClient
from management_api.server import ApiServer
from management_api.settings import Settings

EXIT_BAD_SETTINGS = 2


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 2, and says why, when a setting is wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(_explained(error))
        sys.exit(EXIT_BAD_SETTINGS)
    log_to_stderr(settings.log_level)
    manager = ManagerClient(settings)
    ApiServer(create_app(manager, settings), manager, settings).run()


def _explained(error: ValidationError) -> str:
    return "".join(
        f"management-api: MANAGEMENT_API_{str(fault['loc'][0]).upper()}: {fault['msg']}\n" for fault in error.errors()
    )


if __name__ == "__main__":
    main()
