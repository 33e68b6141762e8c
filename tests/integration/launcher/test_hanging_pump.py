"""A log pump that hangs is replaced before anybody waits for it, and one that only waits is left alone."""

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from agent_manager.launcher.children import Children
from agent_manager.launcher.event_loop import EventLoop
from agent_manager.launcher.pump_client import PumpClient
from agent_manager.launcher.rotating_file import LogFile
from agent_manager.launcher.run_tag import RunTag
from agent_manager.launcher.spawning import Spawner

PULSE_S = 1.0
loop = EventLoop()
children = Children(loop, Spawner())
pump = PumpClient(loop, children, os.environ | RunTag.fresh("test").environment, pulse_s=PULSE_S)
log = Path(sys.argv[1], "log")
pump.start()
stream, write_end = pump.open_stream(LogFile(str(log), 1_000_000, 1))

def has(text):
    os.write(write_end, text)
    return lambda: log.exists() and text in log.read_bytes()

def steps():
    yield has(b"first;")
    idle, first = time.monotonic(), pump.pid
    yield lambda: time.monotonic() > idle + 5 * PULSE_S
    assert pump.pid == first, "one that only waits was replaced"
    os.kill(first, signal.SIGSTOP)
    yield has(b"second;")
    assert pump.pid != first
    flushed = []
    pump.flush(stream, flushed.append)
    yield lambda: flushed
    print(log.read_text(), flushed)

def look(step, holds):
    while holds():
        try:
            holds = next(step)
        except (StopIteration, AssertionError) as error:
            print(*error.args, end="")
            return loop.stop()
    loop.call_later(0.01, lambda: look(step, holds))

look(steps(), lambda: True)
loop.run()
"""


def test_a_pump_that_hangs_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout == "first;second; [['second;']]\n", ran.stderr
    assert "log pump: has not answered for 3 s, and is killed" in ran.stderr
