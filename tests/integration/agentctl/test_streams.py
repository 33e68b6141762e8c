"""What agentctl writes to, whatever that is: pipes, terminals, nothing; and what ends it early."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from asyncio.subprocess import PIPE
from functools import partial
from pathlib import Path

import pytest

from agent_manager.protocol import operations
from agent_manager.protocol.resources import AgentList
from tests.harness.agentctl_program import COMMAND, Agentctl, Run
from tests.harness.fake_manager import FakeManager, agent
from tests.harness.pseudo_terminal import in_a_terminal
from tests.harness.waiting import eventually

ESCAPE = "\x1b"
SMALL_PIPE = 8192
LONG_ID = "an-agent-with-a-name-of-forty-characters"


async def in_a_shell(agentctl: Agentctl, script: str) -> Run:
    """Run a line of shell in which `agentctl` is the program."""
    quoted = " ".join(f"'{part}'" for part in COMMAND)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f'agentctl() {{ {quoted} "$@"; }}\n{script}'),
        env=agentctl.environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def test_a_reader_that_goes_ends_it_without_a_word(agentctl: Agentctl, manager: FakeManager) -> None:
    many = [agent(f"agent-{number}", description="x" * 1_000) for number in range(500)]
    manager.answer(operations.AGENTS_LIST, AgentList(items=many))
    for form in ("table", "json", "yaml", "name"):
        run = await in_a_shell(agentctl, f"agentctl ls -o {form} | true; echo ${{PIPESTATUS[0]}}")
        assert (run.out, run.err) == ("141\n", ""), form
    run = await in_a_shell(agentctl, "agentctl start echo | true; echo ${PIPESTATUS[0]}")
    assert (run.out, run.err) == ("141\n", "")


async def test_closed_streams_are_as_good_as_dev_null(agentctl: Agentctl, manager: FakeManager) -> None:
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        run = await in_a_shell(agentctl, f"agentctl ls {closed}")
        assert (run.exit_code, run.err) == (0, ""), closed
    run = await in_a_shell(agentctl, "agentctl show Echo 2>&-")
    assert (run.exit_code, run.out) == (2, "")


async def test_an_output_that_cannot_be_written_is_a_failure(agentctl: Agentctl, manager: FakeManager) -> None:
    run = await in_a_shell(agentctl, "agentctl ls > /dev/full")
    assert run.exit_code == 1
    assert run.err == "agentctl: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}], ids=["dumb", "NO_COLOR"]
)
async def test_a_plain_terminal_gets_no_escapes(
    agentctl: Agentctl, manager: FakeManager, variables: dict[str, str]
) -> None:
    for arguments in (("ls",), ("show", "echo"), ("packages",), ("nodes", "-o", "wide")):
        environment = {**agentctl.environment, **variables}
        async with in_a_terminal([*COMMAND, *arguments], environment=environment) as terminal:
            await terminal.process.wait()
            written = terminal.rest()
        assert ESCAPE not in written, arguments
        assert terminal.process.returncode == 0


async def test_a_narrow_terminal_folds_no_table(agentctl: Agentctl, manager: FakeManager) -> None:
    manager.answer(operations.AGENTS_LIST, AgentList(items=[agent(LONG_ID), agent("echo")]))
    for columns in (100, 30):
        async with in_a_terminal([*COMMAND, "ls"], environment=agentctl.environment, columns=columns) as terminal:
            await terminal.process.wait()
            lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.rest()).splitlines()
        assert [line.split()[:3] for line in lines[1:]] == [[LONG_ID, "active", "active"], ["echo", "active", "active"]]
        assert "…" in lines[0]
        assert columns < 100 or all(len(line) <= columns for line in lines)


async def test_ctrl_c_while_it_is_loaded_is_quiet(agentctl: Agentctl, tmp_path: Path) -> None:
    """A library that takes long, in place of one that is imported first."""
    (tmp_path / "typer.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    environment = {**agentctl.environment, "PYTHONPATH": f"{tmp_path}:{agentctl.environment['PYTHONPATH']}"}
    for program in ("agentctl", "agent_manager"):
        start = f"from agent_manager.cli.programs import {program}; {program}()"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", start, env=environment, stdout=PIPE, stderr=PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


async def test_ctrl_c_before_a_command_has_begun_is_quiet(agentctl: Agentctl, tmp_path: Path) -> None:
    """As it reaches the program while its commands are put together."""
    start = (
        "from unittest import mock; from agent_manager.cli import agentctl, programs; "
        "mock.patch.object(agentctl, 'app', side_effect=KeyboardInterrupt).start(); programs.agentctl()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", start, env=agentctl.environment, stdout=PIPE, stderr=PIPE
    )
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


@pytest.mark.parametrize("arguments", [("ls",), ("ls", "-o", "json"), ("ls", "--watch")], ids=" ".join)
async def test_ctrl_c_ends_it_though_nobody_reads_its_output(
    agentctl: Agentctl, manager: FakeManager, arguments: tuple[str, ...]
) -> None:
    many = [agent(f"agent-{number}", description="x" * 1_000) for number in range(300)]
    manager.answer(operations.AGENTS_LIST, AgentList(items=many))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, env=agentctl.environment, stdout=writing, stderr=PIPE
        )
        await eventually(partial(is_full, reading))
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(30):
                _, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    finally:
        os.close(reading)
        os.close(writing)
    assert (process.returncode, err) == (130, b"")


def is_full(pipe: int) -> bool:
    """Whether whoever writes to it has to wait, or soon will."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return bool(waiting > SMALL_PIPE // 2)


async def test_an_interrupt_that_is_ignored_stays_ignored(agentctl: Agentctl, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('alive', flush=True)\nos._exit(0)\n"
    )
    environment = {**agentctl.environment, "PYTHONPATH": f"{tmp_path}:{agentctl.environment['PYTHONPATH']}"}
    start = "from agent_manager.cli.programs import agentctl; agentctl()"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"trap '' INT; '{sys.executable}' -c '{start}'"), env=environment, stdout=PIPE
    )
    out, _ = await process.communicate()
    assert out == b"alive\n"
