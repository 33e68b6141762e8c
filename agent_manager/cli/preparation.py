"""What is done before this version of the manager takes over from another: all is loaded, the schema migrated.

`python -P -m agent_manager.cli.preparation`, run by the launcher in the manager's environment. What fails here keeps
the former version in its place.
"""

from __future__ import annotations

import os
import sys

import agent_manager.cli.console
import agent_manager.daemon  # noqa: F401 - all three are loaded to see whether they can be
import management_api.__main__  # noqa: F401
from agent_manager.adapters.sql.migration import migrate
from agent_manager.adapters.sql.postgres_failures import OutOfReachError
from agent_manager.configuration.loading import ConfigurationError
from agent_manager.domain.errors import AgentManagerError
from agent_manager.settings.manager import MANAGER


def main() -> None:
    """Prepare. Ends with a line on standard error, and code 1, where this version cannot take over."""
    try:
        migrate(MANAGER.load(os.environ).settings.database_url)
    except OutOfReachError:
        # As at a start: the manager waits for it.
        return
    except ConfigurationError as error:
        sys.exit("; ".join(error.faults))
    except AgentManagerError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
