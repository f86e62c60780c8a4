"""A second interpreter, under another hash seed, that does the same work: what differs there is no pure function."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Takes pickles of (folders, pickle of (function, arguments)) and gives pickles of (whether it worked, result), until
#: its input ends. Standard output is the channel, so that what the function prints goes to standard error.
_WORKER: Final = """
import os, pickle, sys
channel = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
while True:
    try:
        folders, work = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        sys.path += [folder for folder in folders if folder not in sys.path]
        function, arguments = pickle.loads(work)
        answer = pickle.dumps((True, function(*arguments)))
    except Exception as error:
        answer = pickle.dumps((False, f"{type(error).__name__}: {error}"))
    channel.write(answer)
    channel.flush()
"""


def check_across_processes(function: Callable[..., Any], *arguments: Any) -> None:
    """A function gives an equal result in a fresh interpreter under another hash seed.

    One interpreter serves all checks of a session, so that a check costs milliseconds after the first one.

    Args:
        function: at the top level of a module, so that the other process finds it; its result can be pickled and
            compared with ``==``.
        arguments: what it is called with; they are pickled.

    >>> check_across_processes(len, [1, 2])
    >>> check_across_processes(hash, "text")
    Traceback (most recent call last):
    ...
    AssertionError: another process gives another result of hash
    """
    name = getattr(function, "__name__", repr(function))
    worked, result = _elsewhere(pickle.dumps((function, arguments)))
    if not worked:  # raised, and not asserted: pytest would add both values to the message
        raise AssertionError(f"another process cannot do {name}: {result}")
    if result != function(*arguments):
        raise AssertionError(f"another process gives another result of {name}")


def _elsewhere(work: bytes) -> tuple[bool, Any]:
    worker = _worker()
    assert worker.stdin is not None
    assert worker.stdout is not None
    pickle.dump((_folders(), work), worker.stdin)
    worker.stdin.flush()
    worked, result = pickle.load(worker.stdout)  # noqa: S301 - from the interpreter that we started
    return bool(worked), result


@lru_cache(maxsize=1)
def _worker() -> subprocess.Popen[bytes]:
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    worker = subprocess.Popen(  # noqa: S603 - this interpreter, our own code
        [sys.executable, "-c", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    atexit.register(_end, worker)
    return worker


def _end(worker: subprocess.Popen[bytes]) -> None:
    with worker:  # closes the pipes, and an interpreter without input ends
        pass


def _folders() -> list[str]:
    """Return the folders from which this process can import, and those of modules that were loaded by path."""
    loaded = [(name.replace(".", os.sep), getattr(module, "__file__", None)) for name, module in sys.modules.items()]
    by_path = {
        file.removesuffix(end).removesuffix(name)
        for name, file in loaded
        for end in (".py", f"{os.sep}__init__.py")
        if isinstance(file, str) and file.endswith(name + end)
    }
    here = [folder or os.getcwd() for folder in sys.path]  # noqa: PTH109 - sys.path holds text
    return [*here, *sorted(folder for folder in by_path if folder not in here)]
