"""The limit: forks of an interpreter that has imported NATS, without any supervisor. `warm_fork.py COUNT`.

Each child is an agent of `beat.py`; one that dies is forked again at once.
"""

import gc
import os
import sys
from pathlib import Path

import nats.aio.client  # noqa: F401 - what the fork saves

_AGENT = compile(Path(__file__).with_name("beat.py").read_text(), "beat.py", "exec")


def _fork(name: str) -> int:
    pid = os.fork()
    if pid == 0:
        os.environ["BENCH_NAME"] = name
        exec(_AGENT, {"__name__": "__main__"})
        os._exit(0)
    return pid


def main() -> None:
    gc.collect()
    gc.freeze()
    names = {_fork(f"a{number}"): f"a{number}" for number in range(int(sys.argv[1]))}
    while names:
        pid, _ = os.wait()
        name = names.pop(pid)
        names[_fork(name)] = name


if __name__ == "__main__":
    main()
