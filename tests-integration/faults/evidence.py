# SPDX-License-Identifier: MIT
"""What a scenario reads off the errors and the processes that it sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .scenario import Impl, Wrong, alive, returns, until


def one_process(impl: Impl) -> None:
    """Start and end a process by each start method: what an implementation starts once for all of them is there then."""
    for method in impl.multiprocessing.get_all_start_methods():
        process = impl.multiprocessing.get_context(method).Process(target=abs, args=(1,))
        process.start()
        process.join()
        process.close()


def raised_by(seconds: float, function: Callable[..., Any], /, *args: Any, **keywords: Any) -> BaseException:
    """What the call raises; Wrong if it returns instead, or takes longer than *seconds*."""
    try:
        value = returns(seconds, function, *args, **keywords)
    except Wrong:
        raise
    except BaseException as error:
        return error
    raise Wrong(f"{getattr(function, '__qualname__', function)}() returned {value!r}, and raised nothing")


def told(error: BaseException | None) -> str:
    """All that an error says: types and texts, through causes and contexts, notes included."""
    said = []
    while error is not None:
        said.append(f"{type(error).__name__}: {error}")
        said += getattr(error, "__notes__", ())
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def brief(error: BaseException) -> str:
    """Type and first line of the text: what fits into a table."""
    first, *_ = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {first[:200]}"


def is_a(error: BaseException, name: str) -> bool:
    """Whether a class of that name is among the error's: for names that only some implementations have."""
    return name in {base.__name__ for base in type(error).__mro__}


def must_say(error: BaseException, *alternatives: tuple[str, ...] | str) -> None:
    """Each of *alternatives* is a word that the error's text must hold, or several of which it must hold one."""
    said = told(error)
    for words in alternatives:
        options = (words,) if isinstance(words, str) else words
        if not any(word in said for word in options):
            raise Wrong(f"raised {brief(error)!r}, which does not say {' or '.join(options)}")


def must_die(seconds: float, pids: list[int], what: str) -> None:
    """Wrong if one of the processes still lives after *seconds*."""
    limit = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        if time.monotonic() > limit:
            raise Wrong(f"{len(left)} of {len(pids)} {what} still alive after {seconds:g} s")
        time.sleep(0.01)


def noted(path: Path, seconds: float = 10.0) -> str:
    """What another process has written to the file, once it is there."""
    until(seconds, f"nothing was written to {path.name}", lambda: path.exists() and path.read_text())
    return path.read_text()


def asleep(pid: int) -> None:
    """Wait until the process has done nothing for a while: it waits in what it was last seen about to do.

    Whether a process is blocked in a certain call cannot be asked from outside in a way that holds for every
    implementation. A thing that sleeps and has used no processor time in between five looks is taken to be there.
    """
    _at_rest(Path(f"/proc/{pid}/stat"), f"process {pid}")


def asleep_thread(native_id: int) -> None:
    """The same for one thread of this process."""
    _at_rest(Path(f"/proc/self/task/{native_id}/stat"), f"thread {native_id}")


def _at_rest(source: Path, what: str) -> None:
    quiet, before = 0, ""

    def look() -> bool:
        nonlocal quiet, before
        stat = source.read_text(encoding="utf-8", errors="replace")
        fields = stat[stat.rindex(")") + 2 :].split()
        now = " ".join(fields[11:13])  # processor time used, in user and kernel mode
        quiet = quiet + 1 if fields[0] == "S" and now == before else 0
        before = now
        time.sleep(0.04)
        return quiet >= 5

    until(10, f"{what} did not come to rest", look)
