"""What a Python script finds when it begins: written as JSON to the file named by its argument."""

import json
import locale
import os
import resource
import signal
import sys
import threading
import warnings
from pathlib import Path

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("default")
    warnings.warn("one", DeprecationWarning, stacklevel=1)

report = {
    "argv": sys.argv[:-1],
    "orig_argv": sys.orig_argv[:-1],
    "path": sys.path,
    "flags": str(sys.flags),
    "executable": sys.executable,
    "prefix": [sys.prefix, sys.base_prefix, sys.exec_prefix],
    "main": {key: str(value) for key, value in sorted(vars().items()) if key.startswith("__")},
    "main_type": type(sys.modules["__main__"]).__name__,
    "main_is_this": sys.modules["__main__"].__dict__ is globals(),
    "warning": [str(caught[0].filename), caught[0].lineno],
    "filters": [str(entry) for entry in warnings.filters],
    "environment": dict(sorted(os.environ.items())),
    "cwd": os.getcwd(),
    "descriptors": {name: os.readlink(f"/proc/self/fd/{name}").split(":")[0] for name in ("0", "1", "2")},
    "descriptor_count": len(os.listdir("/proc/self/fd")),
    "streams": [
        [repr(stream), stream.errors, getattr(stream, "line_buffering", None), getattr(stream, "write_through", None)]
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "signals": {number.name: str(signal.getsignal(number)) for number in signal.Signals},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "limits": {
        name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
    },
    "identity": [os.getuid(), os.getgid(), os.getgroups()],
    "is_session_leader": os.getsid(0) == os.getpid() == os.getpgid(0),
    "parent": os.getppid(),
    "umask": os.umask(0o22),
    "niceness": os.nice(0),
    "threads": [threading.current_thread().name, threading.main_thread().name, threading.active_count()],
    "locale": [locale.setlocale(locale.LC_CTYPE), locale.getpreferredencoding(), sys.getfilesystemencoding()],
    "name": Path("/proc/self/comm").read_text(),
    "tag": [
        entry
        for entry in Path("/proc/self/environ").read_text().split("\0")
        if entry.startswith(("AGENT_LAUNCH_ID=", "AGENT_MANAGER_"))
    ],
    "recursion_limit": sys.getrecursionlimit(),
}
Path(sys.argv[1:][-1]).write_text(json.dumps(report))
