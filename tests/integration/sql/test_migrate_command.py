"""`agent-manager migrate`, as it is run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from agent_manager.adapters.sql import schema


async def _migrate(*arguments: str) -> tuple[int, str]:
    def run() -> tuple[int, str]:
        command = [sys.executable, "-P", "-m", "agent_manager.cli", "migrate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return await asyncio.to_thread(run)


async def test_it_says_from_where_to_where_and_a_check_changes_nothing(empty_url: str) -> None:
    option = f"--database-url={empty_url}"
    for expected in (
        (3, f"schema nothing → {schema.HEAD}, not done yet\n"),
        (3, f"schema nothing → {schema.HEAD}, not done yet\n"),
    ):
        code, output = await _migrate("--check", option)
        assert (code, output.partition(": ")[2]) == expected
    assert await _migrate(option) == (0, output.replace(", not done yet", ""))
    code, output = await _migrate(option)
    assert (code, output.partition(": ")[2]) == (0, f"schema {schema.HEAD}, nothing to be done\n")
    assert (await _migrate("--check", option))[0] == 0


async def test_without_a_url_it_is_the_database_of_the_data_directory(tmp_path: Path) -> None:
    assert await _migrate("--data-dir", str(tmp_path)) == (
        0,
        f"{tmp_path / 'agent-manager.db'}: schema nothing → {schema.HEAD}\n",
    )


async def test_what_goes_wrong_is_one_line_without_the_password_and_exit_code_1(empty_postgres_url: str) -> None:
    wrong = empty_postgres_url.rpartition("/")[0] + "/missing"
    for arguments in (("--check",), ()):
        code, output = await _migrate(*arguments, f"--database-url={wrong}")
        assert code == 1
        assert output.count("\n") == 1
        assert 'database "missing" does not exist; create the database' in output
        assert "s3cret" not in output


async def test_a_parameter_that_the_driver_does_not_take_is_one_line_too() -> None:
    code, output = await _migrate("--database-url=postgresql://me:s3cret@127.0.0.1:1/name?sslnegotiation=none")
    assert code == 1
    assert output.count("\n") == 1
    assert "`sslnegotiation` parameter must be one of" in output
    assert output.endswith("; correct the database URL\n")
    assert "s3cret" not in output
