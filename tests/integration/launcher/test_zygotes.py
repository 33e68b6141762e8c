"""Python instances that are forked of a zygote: the same as executed ones, and never dependent on it."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_manager.launcher.zygotes import MOST_ZYGOTES
from tests.harness.cgroups import wants_cgroups
from tests.harness.launcher import RequestRefused, RunningLauncher, has_ended, running_launcher
from tests.harness.waiting import wait_until

_PROBE = Path(__file__).parents[2] / "harness" / "probe.py"
_PATH = {"PATH": os.environ["PATH"]}


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[RunningLauncher]:
    with running_launcher(tmp_path) as launcher:
        yield launcher


def _script(launcher: RunningLauncher, text: str, name: str = "agent.py") -> str:
    path = launcher.directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def _warm(*preload: str, **env: str) -> dict[str, Any]:
    return {"env": _PATH | env, "preload": list(preload)}


def _start(launcher: RunningLauncher, name: str, script: str, *arguments: str, **changes: Any) -> int:
    fields = {"zygote": _warm("json")} | changes
    return launcher.spawn(name, name, sys.executable, script, *arguments, **fields)


def _zygotes(launcher: RunningLauncher) -> list[psutil.Process]:
    return [child for child in psutil.Process(launcher.process.pid).children() if "zygote.py" in _command_line(child)]


def _command_line(process: psutil.Process) -> str:
    """Nothing where it has ended: what an instance has left behind ends at any moment."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _was_forked(launcher: RunningLauncher, name: str, **changes: Any) -> bool:
    """Start an instance that lives on; by its modules it can be told how it came to be."""
    told = "import sys, time\nprint('agent_manager.launcher.becoming' in sys.modules, flush=True)\ntime.sleep(1000)"
    _start(launcher, name, _script(launcher, told, f"{name}.py"), **changes)
    wait_until(lambda: launcher.log(f"{name}.out").endswith("\n"))
    return launcher.log(f"{name}.out") == "True\n"


def _ended(launcher: RunningLauncher, name: str) -> dict[str, Any]:
    exit_: dict[str, Any] = launcher.manager.expect("drained", launch_id=name)["exit"]
    return exit_


def _forget(launcher: RunningLauncher, name: str) -> None:
    """Make the name free for another launch."""
    launcher.manager.expect("empty", launch_id=name)
    launcher.manager.ask("ack", slot=name, launch_id=name)
    launcher.manager.ask("release", slot=name)
    launcher.manager.messages.clear()


def _without_addresses(report: Any) -> Any:
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x", json.dumps(report)))


def _both_ways(launcher: RunningLauncher, script: str, *arguments: str, **changes: Any) -> list[tuple[Any, ...]]:
    """Exit and output of a script, executed and forked."""
    outcomes = []
    env = _PATH | {"PYTHONFAULTHANDLER": "1"}
    for way, zygote in (("executed", None), ("forked", _warm("json", **env))):
        _start(launcher, way, script, *arguments, zygote=zygote, env=env, **changes)
        exit_ = _ended(launcher, way)
        outcomes.append((exit_["code"], exit_["signal"], launcher.log(f"{way}.out"), launcher.log(f"{way}.err")))
    assert _zygotes(launcher), "nothing was forked"
    return outcomes


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_forked_script_finds_what_an_executed_one_finds(launcher: RunningLauncher, locale: str) -> None:
    reports = []
    for zygote in (None, _warm("agent_manager.sdk", PYTHONUNBUFFERED="1", LANG=locale)):
        report = launcher.directory / "report.json"
        env = _PATH | {"PYTHONUNBUFFERED": "1", "LANG": locale, "TZ": "Asia/Tokyo", "A": "ä"}
        _start(launcher, "a", str(_PROBE), "--option", str(report), zygote=zygote, env=env)
        assert _ended(launcher, "a")["code"] == 0, launcher.log("a.err")
        reports.append(_without_addresses(json.loads(report.read_text())))
        _forget(launcher, "a")
    executed, forked = reports
    assert forked == executed
    assert len(_zygotes(launcher)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "print('out'); import sys; sys.stderr.write('err')",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('in words')",
        "import sys; sys.exit(None)",
        "raise SystemExit(256 + 4)",
        "def inner():\n    raise ValueError('why')\n\ninner()",
        "import sys; sys.excepthook = lambda *error: print(error[2].tb_next, error[2].tb_frame.f_code.co_name)\n1 / 0",
        "raise ExceptionGroup('many', [ValueError(1), KeyError(2)])",
        "def broken(:\n    pass",
        "# coding: latin-1\nprint(len('\xe4'))",
        "raise KeyboardInterrupt",
        "import os; os._exit(7)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)",
        "import atexit; atexit.register(print, 'at the end'); raise KeyboardInterrupt",
        "import atexit; atexit.register(print, 'first'); atexit.register(print, 'second')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(.1), print('after'))).start()",
        "import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
        "import threading\ndef failing():\n    1 / 0\nthreading.Thread(target=failing).start()",
        "import warnings; warnings.warn('about this'); warnings.warn('old', DeprecationWarning)",
        "import asyncio\nasync def main():\n    raise LookupError('in a loop')\nasyncio.run(main())",
        "import logging; logging.warning('said'); logging.getLogger('a').info('unsaid')",
        "import multiprocessing as m\nif __name__ == '__main__':\n    p = m.get_context('spawn')"
        ".Process(target=print)\n    p.start(); p.join(); print(p.exitcode)",
        "import pickle, sys\nclass Own: pass\nprint(type(pickle.loads(pickle.dumps(Own()))) is Own)",
        "import neighbour; print(neighbour.__file__, neighbour.__name__)",
        "print(__file__, __name__, __spec__, __package__, __builtins__)",
        "import os, sys; print(os.listdir('/proc/self/fd').__len__(), sys.stdin.read())",
        "import os; print(open('/proc/self/oom_score_adj').read(), os.getpriority(os.PRIO_PROCESS, 0))",
        "x = 10\nclass Deleted:\n    def __del__(self): print('deleted', x)\nkept = Deleted()",
        "",
    ],
)
def test_a_forked_script_ends_and_speaks_as_an_executed_one(launcher: RunningLauncher, text: str) -> None:
    _script(launcher, "", "neighbour.py")
    path = launcher.directory / "agent.py"
    path.write_bytes(text.encode("latin-1"))
    executed, forked = _both_ways(launcher, str(path))
    assert forked == executed


def test_a_fatal_error_shows_one_frame_more(launcher: RunningLauncher) -> None:
    executed, forked = _both_ways(launcher, _script(launcher, "import os\nos.abort()"))
    text, _, _ = forked[3].partition("\n\nExtension modules: agent_manager.launcher._vfork (total: 1)")
    *shown, below = text.splitlines()
    assert forked[:3] == executed[:3] == (None, signal.SIGABRT, "")
    assert shown[3:] == executed[3].splitlines()[3:]
    assert re.fullmatch(r'  File ".*zygote.py", line \d+ in <module>', below)


def test_a_script_that_is_not_there_ends_as_an_executed_one(launcher: RunningLauncher) -> None:
    executed, forked = _both_ways(launcher, str(launcher.directory / "missing.py"))
    assert forked == executed
    assert forked[0] == 2


def test_a_script_behind_a_link_finds_its_neighbours(launcher: RunningLauncher) -> None:
    (launcher.directory / "links").mkdir()
    _script(launcher, "print('found')", "neighbour.py")
    link = launcher.directory / "links" / "agent.py"
    link.symlink_to(_script(launcher, "import neighbour, sys; print(__file__, sys.path[0])"))
    executed, forked = _both_ways(launcher, str(link))
    assert forked == executed
    assert "found" in forked[2]


def test_nothing_random_is_shared(launcher: RunningLauncher) -> None:
    script = _script(
        launcher, "import random, secrets, uuid, tempfile\nprint(random.random(), secrets.token_hex(), uuid.uuid4())"
    )
    for number in range(3):
        _start(launcher, f"a{number}", script, zygote=_warm("random", "secrets", "uuid"))
        _ended(launcher, f"a{number}")
    words = [word for number in range(3) for word in launcher.log(f"a{number}.out").split()]
    assert len(set(words)) == len(words) == 9


def test_others_see_a_forked_instance_as_an_executed_one(launcher: RunningLauncher) -> None:
    script = _script(launcher, "import time\ntime.sleep(1000)")
    executed = psutil.Process(_start(launcher, "executed", script, "--option", zygote=None))
    forked = psutil.Process(_start(launcher, "forked", script, "--option"))
    assert " ".join(forked.cmdline()) == " ".join(executed.cmdline()) == f"{sys.executable} {script} --option"
    assert forked.name() == executed.name()
    assert forked.environ() == executed.environ() | {"AGENT_LAUNCH_ID": "forked"}
    assert forked.ppid() == launcher.process.pid


def test_an_environment_that_is_too_large_to_be_shown_tells_whose_it_is(launcher: RunningLauncher) -> None:
    env = _PATH | {f"LARGE_{number}": "x" * 1_000 for number in range(100)}
    script = _script(launcher, "import os, time\nprint(len(os.environ), flush=True)\ntime.sleep(1000)")
    shown = psutil.Process(_start(launcher, "a", script, env=env, zygote=_warm("json"))).environ()
    assert shown["AGENT_LAUNCH_ID"] == "a"
    assert shown["AGENT_MANAGER_INSTALLATION"] == launcher.table["installation"]
    wait_until(lambda: launcher.log("a.out"))
    assert int(launcher.log("a.out")) >= 101


def test_a_step_that_fails_is_told(launcher: RunningLauncher) -> None:
    script = _script(launcher, "")
    with pytest.raises(RequestRefused, match="cwd failed: '/no/such/directory': No such file or directory"):
        _start(launcher, "a", script, cwd="/no/such/directory")
    assert _zygotes(launcher)
    assert launcher.manager.of_type("exited", "empty") == []


_STANDING_STILL = """
import os, time

zygote = os.getpid()

def stand_still():
    if os.getpid() != zygote:
        return
    open(os.environ["STANDS"], "w").close()
    while not os.path.exists(os.environ["GO_ON"]):
        time.sleep(0.01)

os.register_at_fork(after_in_parent=stand_still)
"""


@pytest.fixture
def slow_zygote(launcher: RunningLauncher) -> Iterator[dict[str, Any]]:
    """Fields of instances whose zygote stands still with its first fork, until the test is over.

    It then still has a copy of what its child tells the launcher through.
    """
    stands, go_on, library = (launcher.directory / name for name in ("stands", "go-on", "library"))
    library.mkdir()
    (library / "standing_still.py").write_text(_STANDING_STILL)
    yield {"zygote": _warm("standing_still", PYTHONPATH=str(library), STANDS=str(stands), GO_ON=str(go_on))}
    assert stands.exists()
    assert _zygotes(launcher)
    go_on.touch()


def test_a_step_that_fails_is_told_before_its_zygote_goes_on(
    launcher: RunningLauncher, slow_zygote: dict[str, Any]
) -> None:
    script = _script(launcher, "")
    with pytest.raises(RequestRefused, match="cwd failed: '/no/such/directory': No such file or directory"):
        _start(launcher, "a", script, cwd="/no/such/directory", **slow_zygote)
    assert launcher.manager.of_type("exited", "empty") == []


def test_a_start_is_told_before_its_zygote_goes_on(launcher: RunningLauncher, slow_zygote: dict[str, Any]) -> None:
    pid = _start(launcher, "a", _script(launcher, "import time\ntime.sleep(1000)"), **slow_zygote)
    assert psutil.Process(pid).environ()["AGENT_LAUNCH_ID"] == "a"


def test_who_ends_before_its_zygote_goes_on_has_started_and_ended_in_this_order(
    launcher: RunningLauncher, slow_zygote: dict[str, Any]
) -> None:
    pid = _start(launcher, "a", _script(launcher, "raise SystemExit(3)"), **slow_zygote)
    launcher.manager.expect("exited", launch_id="a", pid=pid, code=3)
    launcher.manager.expect("empty", launch_id="a")
    told = [message["type"] for message in launcher.manager.of_type("reply", "exited", "empty")]
    assert told == ["reply", "exited", "empty"]
    launcher.manager.expect("drained", launch_id="a")
    launcher.manager.ask("ack", slot="a", launch_id="a")
    launcher.manager.ask("release", slot="a")


def _start_at_once(launcher: RunningLauncher, count: int) -> dict[str, int]:
    """Start so many; the processes by launch."""
    script = _script(launcher, "import time\ntime.sleep(1000)")
    requests = {
        f"a{number}": launcher.manager.begin(
            "spawn",
            **launcher.spawn_fields(f"a{number}", f"a{number}", sys.executable, script, zygote=_warm("json")),
        )
        for number in range(count)
    }
    return {launch_id: launcher.manager.answer(request)["pid"] for launch_id, request in requests.items()}


def test_many_at_once(launcher: RunningLauncher) -> None:
    pids = _start_at_once(launcher, 100)
    assert len(set(pids.values())) == 100
    assert {launch_id: psutil.Process(pid).environ()["AGENT_LAUNCH_ID"] for launch_id, pid in pids.items()} == {
        launch_id: launch_id for launch_id in pids
    }
    assert len(_zygotes(launcher)) == 1


@pytest.mark.parametrize("count", [1, 100])
def test_each_is_in_its_cgroup_however_many_are_started_at_once(launcher: RunningLauncher, count: int) -> None:
    wants_cgroups()
    for launch_id, pid in _start_at_once(launcher, count).items():
        (unified,) = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")]
        assert Path(unified).name == f"launch-{launch_id}"


def test_what_a_forked_instance_leaves_behind_dies_with_it(launcher: RunningLauncher) -> None:
    left = launcher.directory / "left.pid"
    # It hides from session, group and parent, and has executed nothing that would carry a mark.
    script = _script(
        launcher,
        f"""
import os, time
from pathlib import Path
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        Path({str(left)!r}).write_text(f"{{os.getpid()}}\\n")
        time.sleep(1000)
    os._exit(0)
while not Path({str(left)!r}).exists():
    time.sleep(0.01)
""",
    )
    _start(launcher, "a", script)
    launcher.manager.expect("empty", launch_id="a")
    assert not psutil.pid_exists(int(left.read_text()))


def test_instances_live_on_when_their_zygote_dies(launcher: RunningLauncher) -> None:
    assert _was_forked(launcher, "a")
    (zygote,) = _zygotes(launcher)
    zygote.kill()
    wait_until(lambda: not zygote.is_running())
    assert _was_forked(launcher, "b")
    assert launcher.manager.of_type("exited") == []
    assert "zygote" not in launcher.warnings


def test_a_zygote_that_hangs_is_replaced_and_its_instance_executed(launcher: RunningLauncher) -> None:
    assert _was_forked(launcher, "a")
    (zygote,) = _zygotes(launcher)
    zygote.suspend()
    assert not _was_forked(launcher, "b")
    wait_until(lambda: has_ended(zygote))
    assert _was_forked(launcher, "c")


def test_instances_are_executed_where_no_zygote_can_live(launcher: RunningLauncher) -> None:
    _script(
        launcher,
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
        "threaded.py",
    )
    zygote = _warm("threaded", PYTHONPATH=str(launcher.directory))
    assert not _was_forked(launcher, "a", zygote=zygote)
    assert not _was_forked(launcher, "b", zygote=zygote)
    assert launcher.warnings.count("agents are executed") == 1
    assert "with threaded: " in launcher.warnings
    wait_until(lambda: "zygote: threaded starts a thread" in launcher.log("zygotes.log"))


@pytest.mark.parametrize("library", [None, "raise ValueError('no')", "import sys\nsys.exit(3)"])
def test_a_module_that_cannot_be_imported_beforehand_is_left_to_the_agent(
    launcher: RunningLauncher, library: str | None
) -> None:
    if library is not None:
        _script(launcher, library, "library/library.py")
    warmth = _warm("library", PYTHONPATH=str(launcher.directory / "library"))
    assert _was_forked(launcher, "a", zygote=warmth)
    wait_until(lambda: "library cannot be imported beforehand" in launcher.log("zygotes.log"))


def test_what_has_changed_on_the_disk_is_not_forked(launcher: RunningLauncher) -> None:
    library = Path(_script(launcher, "", "library/library.py"))
    zygote = _warm("library", PYTHONPATH=str(library.parent))
    assert _was_forked(launcher, "a", zygote=zygote)

    def notices() -> bool:
        # It looks at most once a second.
        library.write_text(f"{library.read_text()}\n")
        name = f"b{len(library.read_text())}"
        return not _was_forked(launcher, name, zygote=zygote)

    wait_until(notices)
    assert _was_forked(launcher, "c", zygote=zygote)
    assert f"{library} has changed" in launcher.log("zygotes.log")


@pytest.mark.parametrize("neighbour", ["json.py", "json/__init__.py"])
def test_a_script_whose_neighbour_has_the_name_of_a_library_is_executed(
    launcher: RunningLauncher, neighbour: str
) -> None:
    _script(launcher, "", neighbour)
    script = _script(launcher, "import json\nprint(json.__file__)")
    executed, forked = _both_ways(launcher, script)
    assert forked == executed


def test_a_zygote_that_is_expected_is_there_before_its_first_instance(launcher: RunningLauncher) -> None:
    assert "expect" in launcher.manager.hello["understands"]
    for _ in range(2):
        launcher.manager.ask("expect", python=sys.executable, zygote=_warm("json"))
    (zygote,) = wait_until(lambda: _zygotes(launcher))
    assert _was_forked(launcher, "a", zygote=_warm("json"))
    assert _zygotes(launcher) == [zygote]
    assert launcher.manager.of_type("exited") == []


def test_one_that_was_never_used_is_replaced_as_well_once_it_is_stale(launcher: RunningLauncher) -> None:
    rehearsals = launcher.directory / "rehearsals"
    text = f"def before_fork():\n    with open({str(rehearsals)!r}, 'a') as file: file.write('.')\n"
    library = Path(_script(launcher, text, "library/library.py"))
    zygote = _warm("library", PYTHONPATH=str(library.parent))
    launcher.manager.ask("expect", python=sys.executable, zygote=zygote)
    # It looks at most once a second, and tells when it is asked to fork.
    (expected,) = wait_until(lambda: _zygotes(launcher))
    # From the second time on it knows which files it has imported.
    wait_until(lambda: rehearsals.exists() and rehearsals.stat().st_size > 1)
    library.write_text("# another version\n")
    wait_until(lambda: time.time() - expected.create_time() > 2.0)
    _was_forked(launcher, "a", zygote=zygote)
    wait_until(lambda: has_ended(expected))
    assert _was_forked(launcher, "b", zygote=zygote)


def test_what_is_rehearsed_has_its_code_in_another_place(launcher: RunningLauncher) -> None:
    library = _script(
        launcher,
        "calls = 0\ndef before_fork():\n    global calls\n    calls += 1\noriginal = before_fork.__code__\n",
        "library/library.py",
    )
    told = "import library\nprint(library.before_fork.__code__ is library.original, library.calls > 8)"
    zygote = _warm("library", PYTHONPATH=os.path.dirname(library))
    _start(launcher, "a", _script(launcher, told), zygote=zygote)
    _ended(launcher, "a")
    assert launcher.log("a.out") == "False True\n"


def test_a_rehearsal_that_can_be_done_but_once_is_not_insisted_on(launcher: RunningLauncher) -> None:
    once = "calls = 0\ndef before_fork():\n    global calls\n    calls += 1\n    assert calls == 1, 'once'\n"
    library = _script(launcher, once, "library/library.py")
    assert _was_forked(launcher, "a", zygote=_warm("library", PYTHONPATH=os.path.dirname(library)))
    wait_until(lambda: "library cannot be rehearsed again" in launcher.log("zygotes.log"))
    assert launcher.log("zygotes.log").count("AssertionError: once") == 1


def test_a_thread_that_a_rehearsal_starts_is_noticed_whenever_it_does(launcher: RunningLauncher) -> None:
    late = (
        "import threading, time\ncalls = 0\ndef before_fork():\n    global calls\n    calls += 1\n"
        "    if calls == 3:\n        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    library = _script(launcher, late, "library/library.py")
    assert not _was_forked(launcher, "a", zygote=_warm("library", PYTHONPATH=os.path.dirname(library)))
    wait_until(lambda: "starts a thread" in launcher.log("zygotes.log"))


def test_what_is_expected_takes_the_place_of_nothing_that_is_used(launcher: RunningLauncher) -> None:
    for number in range(MOST_ZYGOTES):
        assert _was_forked(launcher, f"a{number}", zygote=_warm("json", LANG=f"{number}"))
    before = {zygote.pid for zygote in _zygotes(launcher)}
    launcher.manager.ask("expect", python=sys.executable, zygote=_warm("json"))
    assert len(before) >= MOST_ZYGOTES
    assert {zygote.pid for zygote in _zygotes(launcher)} == before


def test_there_are_only_so_many_zygotes(launcher: RunningLauncher) -> None:
    for number in range(MOST_ZYGOTES + 2):
        assert _was_forked(launcher, f"a{number}", zygote=_warm("json", LANG=f"{number}"))
    wait_until(lambda: len(_zygotes(launcher)) == MOST_ZYGOTES)
    assert launcher.manager.of_type("exited") == []
    assert _was_forked(launcher, "again", zygote=_warm("json", LANG="0"))


def test_forked_instances_die_with_their_launcher(launcher: RunningLauncher) -> None:
    instance = psutil.Process(_start(launcher, "a", _script(launcher, "import time\ntime.sleep(1000)")))
    launcher.process.send_signal(signal.SIGKILL)
    wait_until(lambda: has_ended(instance))


def test_a_stop_leaves_neither_instances_nor_zygotes(launcher: RunningLauncher) -> None:
    instance = psutil.Process(_start(launcher, "a", _script(launcher, "import time\ntime.sleep(1000)")))
    (zygote,) = _zygotes(launcher)
    zygote.suspend()
    waiting = str(launcher.directory / "agent.py")
    for name in "bc":
        launcher.manager.begin(
            "spawn", **launcher.spawn_fields(name, name, sys.executable, waiting, zygote=_warm("json"))
        )
    assert launcher.stop() == 0
    assert has_ended(instance)
    assert not launcher.processes()
