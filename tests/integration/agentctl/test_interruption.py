"""Ctrl-C that the system hands to another thread, as it may, or just before the main one begins to wait."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

PROGRAM = """
import asyncio, signal, threading
from agent_manager.cli.ctl import interruption

async def waits_for_ever():
    elsewhere = threading.Thread(target=threading.Event().wait, daemon=True)
    elsewhere.start()
    # Told once the loop waits, in a thread that is not the one which waits.
    threading.Timer(0.2, lambda: signal.pthread_kill(elsewhere.ident, signal.SIGINT)).start()
    await asyncio.Event().wait()

try:
    interruption.run(waits_for_ever())
except KeyboardInterrupt:
    raise SystemExit(130)
"""


async def test_a_signal_that_does_not_reach_the_waiting_thread_ends_the_wait() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdin=subprocess.DEVNULL)
    try:
        assert await asyncio.wait_for(process.wait(), 30.0) == 130
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
