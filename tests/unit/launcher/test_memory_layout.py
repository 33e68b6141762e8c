"""How a zygote's memory is arranged. Each test in an interpreter of its own: what is arranged stays so."""

import subprocess
import sys

import pytest

_HEAD = """
import gc
import sys
import traceback
from agent_manager.launcher import memory_layout

def outer(number):
    def inner():
        return [each + number for each in range(3)]
    return inner

def fails():
    raise LookupError("what was expected")

def numbers():
    yield from range(3)

def unused():
    return 1
"""

_GATHERED = """
used = (outer, numbers, fails)
before = {function: function.__code__ for function in (*used, unused)}
made = outer(1)

def rehearse():
    assert list(numbers()) == [0, 1, 2]
    assert outer(2)() == made()[1:] + [4]
    try:
        fails()
    except LookupError:
        pass

memory_layout.gather_code(rehearse)
for function, code in before.items():
    assert function.__code__ == code
    assert (function.__code__ is code) is (function is unused)
inner = [each for each in outer.__code__.co_consts if hasattr(each, "co_name")]
assert made.__code__ is inner[0] is outer(5).__code__
rehearse()
try:
    fails()
except LookupError:
    assert ", in fails\\n" in traceback.format_exc()
assert sys.getprofile() is None
"""

_FAILING = """
before = fails.__code__
try:
    memory_layout.gather_code(fails)
except LookupError:
    pass
else:
    sys.exit("no error")
assert fails.__code__ is before
assert sys.getprofile() is None
"""

_TOGETHER = """
import asyncio, json, logging, urllib.parse
from types import FunctionType

used = []
def rehearse():
    asyncio.run(asyncio.sleep(0))
    json.loads(json.dumps({"a": [1, None]}, indent=1))
    urllib.parse.urlsplit("nats://127.0.0.1:4222")

def note(frame, event, _):
    if event == "call":
        used.append(frame.f_code)

sys.setprofile(note)
rehearse()
sys.setprofile(None)
functions = [each for each in gc.get_objects() if type(each) is FunctionType and each.__code__ in used]
assert len(functions) > 50

def pages():
    codes = {id(each.__code__): sys.getsizeof(each.__code__) for each in functions}
    return {page for start, size in codes.items() for page in range(start // 4096, (start + size) // 4096 + 1)}

before = len(pages())
memory_layout.gather_code(rehearse)
assert len(pages()) < before * 0.75, (before, len(pages()))
"""

_FILLED = """
blocks = [bytes(size) for size in range(600, 2600) for _ in range(2)]
places = range(min(map(id, blocks)), max(map(id, blocks)))
del blocks[::2]
assert id(bytes(700)) in places
memory_layout.fill_holes()
assert not [each for each in range(600, 2600, 50) if id(bytes(each)) in places]
"""

_ENDLESS = """
# A C library that hands out ever lower addresses.
address = 2**40
def malloc(size):
    global address
    address -= size
    return address
given_back = []
memory_layout._malloc, memory_layout._free = malloc, given_back.append
memory_layout.fill_holes()
assert 2**40 - address < 16 * 1024 * 1024
assert given_back
"""


@pytest.mark.parametrize(
    "script",
    [_GATHERED, _FAILING, _TOGETHER, _FILLED, _ENDLESS],
    ids=["copies", "a rehearsal that fails", "side by side", "no holes", "not for ever"],
)
def test_memory_is_arranged(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", _HEAD + script], stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
