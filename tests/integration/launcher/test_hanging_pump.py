"""A log pump that hangs is replaced before anybody waits for it for long, and one that only takes its time is not."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent_manager.launcher.log_pump import LogPump
from agent_manager.launcher.rotating_file import RotatingFile
from agent_manager.launcher.run_tag import RunTag

_HEAD = """
import os, signal, sys
from pathlib import Path
from agent_manager.launcher.children import Children
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.spawning import Spawner

loop = EventLoop()
children = Children(loop, Spawner())
pump = PumpClient(loop, children, os.environ | RunTag.fresh("test").environment, ping_interval_s=0.5)
log = Path(sys.argv[1], "log")
pump.start()
stream, write_end = pump.open_stream(LogFile(str(log), 1_000_000, 1))
last_lines = []

def has(text):
    os.write(write_end, text)
    return lambda: log.exists() and text in log.read_bytes()

def look(step, holds):
    while holds():
        try:
            holds = next(step)
        except StopIteration:
            return loop.stop()
    loop.call_later(0.01, lambda: look(step, holds))
"""
_HANGS = """
def steps():
    yield has(b"first;")
    stopped = pump.pid
    os.kill(stopped, signal.SIGSTOP)
    yield has(b"second;")
    pump.flush(stream, last_lines.append)
    yield lambda: last_lines
    print(log.read_text(), last_lines, pump.pid != stopped)

look(steps(), lambda: True)
loop.run()
"""
_PINGED_AFTER_GOODBYE = """
ended = []

def steps():
    yield has(b"first;")
    pid = pump.pid
    os.kill(pid, signal.SIGSTOP)
    os.write(write_end, b"second;")
    pump.flush(stream, last_lines.append)
    pump.end(lambda: ended.append(pump.pid))
    asked = pump._watch._unanswered
    yield lambda: pump._watch._unanswered > asked
    os.kill(pid, signal.SIGCONT)
    # Nothing is heard of it before it has ended.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield lambda: ended
    print(log.read_text(), last_lines, ended)

look(steps(), lambda: True)
loop.run()
"""


def _ran(directory: Path, script: str) -> tuple[str, str]:
    command = [sys.executable, "-c", _HEAD + script, str(directory)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout, ran.stderr


def test_a_pump_that_hangs_is_replaced_and_what_it_has_not_read_is_saved(tmp_path: Path) -> None:
    printed, said = _ran(tmp_path, _HANGS)
    assert printed == "first;second; [['second;']] True\n", said
    assert "log pump: no pong for 1.5 s, and is killed" in said


def test_a_ping_behind_the_goodbye_costs_no_last_lines(tmp_path: Path) -> None:
    printed, said = _ran(tmp_path, _PINGED_AFTER_GOODBYE)
    assert printed == "first;second; [['first;second;']] [None]\n", said


def test_a_pump_answers_in_the_middle_of_a_long_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipes = [os.pipe2(os.O_NONBLOCK) for _ in range(20)]
    for number, (read_end, write_end) in enumerate(pipes):
        log = {"path": str(tmp_path / f"log{number}"), "max_bytes": 1000, "files": 1}
        socket.send_fds(ours, [json.dumps({"open": number, "log": log}).encode()], [read_end])
        os.write(write_end, b"output")
        os.close(write_end)
        os.close(read_end)
    answers: list[bytes] = []
    written: list[bytes] = []
    write = RotatingFile.write

    def watched_write(file: RotatingFile, data: bytes) -> None:
        written.append(data)
        if len(written) == 1:
            ours.send(b'{"ping": true}')
        elif len(written) == 20:
            # The last of the round.
            answers.append(ours.recv(100, socket.MSG_DONTWAIT))
            ours.send(b'{"goodbye": true}')
        write(file, data)

    monkeypatch.setattr(RotatingFile, "write", watched_write)
    with ours, theirs:
        LogPump(theirs, RunTag.fresh("test")).run()
    assert answers == [b'{"pong": true}']
    assert [(tmp_path / f"log{number}").read_text() for number in range(20)] == ["output"] * 20
