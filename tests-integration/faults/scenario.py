# SPDX-License-Identifier: MIT
"""What a scenario is, and all that one may lean on.

How to write one
----------------
Put a function into any module of this package (one module per area: `queues.py`, `pools.py`, ...; a module is found
because it is there, nothing lists it)::

    from .scenario import Impl, Wrong, returns, scenario

    @scenario("D2", "run() returns when the only event is cancelled", deadline=10, reproduced=True)
    def cancelled_while_it_sleeps(impl: Impl) -> None:
        plan = impl.sched.scheduler()
        ...
        if took > 0.1:
            raise Wrong(f"run() slept on for {took:.2f} s, allowed 0.1 s")

- *impl* is the set of modules under test: `impl.threading`, `.thread`, `.queue`, `.sched`, `.subprocess`,
  `.multiprocessing`, `.futures` and `impl.module("multiprocessing.connection")`. Never import the thing under test
  yourself: the same function runs against plait and against the standard modules.
- It returns when all is right and raises `Wrong("what was seen, what was allowed")` otherwise. The sentence is the note in
  the table. Any other exception is the outcome *error*, a defect of the scenario, and no proof of anything: catch what the
  implementation may raise, and say it in a `Wrong`.
- Where the system does not permit what the scenario does, it raises `Absent("why")`.
- A hang need not be caught: at the deadline all stacks go to the log, everything is killed, the outcome is *hang*. Where the
  row names a bound, check the bound: `returns(5, pool.terminate)` is `Wrong` after 5 seconds.
- *row* is the known fault that this is about: its area (`python3 tools/run.py faults -- --help` has them) and a number.
  A row may have several scenarios; a fault that has no row yet takes the next number of its area. The title says what is
  asked for, and the check follows it literally, bounds included.
- *reproduced* is the claim that the standard module fails: True on every Python, "3.11" on that one, a comparison such as
  "<3.15", None if nothing is claimed. The list shows it as [R]; the runner fails if a claim is not borne out.
- *needs* names what plait must have before the row makes sense: `("multiprocessing.Pool", "queue.Queue.peek",
  "subprocess.run(kill_tree)")`, dotted from an attribute of impl, a parameter in brackets. Without it the outcome is
  *absent* for plait. The standard modules are run all the same, because not having it is often the row's complaint: a
  scenario either asks `impl.has("subprocess.run(kill_tree)")` and makes do without it, or fails by AttributeError or
  TypeError, which then counts as *wrong*: "has no subprocess.run(kill_tree)".
- *hopeless* names Pythons, in the same words, whose own defect no module can mend: there *wrong* is shown, but does not
  fail a run of plait. The function's docstring says which defect.
- *alone* is for timing: nothing else runs meanwhile.
- *warm* is called with impl before descriptors are counted: for what an implementation may rightly start once and keep until
  it exits, such as a resource tracker (`warm=lambda impl: impl.multiprocessing.Lock()`).

It runs in a process of its own that leads a session, with its own empty TMPDIR, its own /dev/shm where the system
permits, a scratch folder as current directory, `faults` importable in whatever Python it starts, and its standard error
in the log.
Afterwards nothing may be left: no process (grandchildren, orphans and daemons of any kind included), no zombie, no
segment or named semaphore, no temporary file, no descriptor more than before. So join, close and unlink what you made,
where the row does not say otherwise; in `finally` if what comes before may raise `Wrong`.

What crosses to a spawned child (targets, tasks, exception classes) is an importable function or class of a module of
this package, not a local one. To look at a whole program, its exit, or Ctrl-C, start one: `program(impl, "code")` runs
code in which `impl` is defined, `python("-c", ...)` runs anything.

Nothing here imports the standard threading, subprocess or multiprocessing: a process in which plait is under test must
not hold them, because plait takes note of them.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import inspect
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
P = TypeVar("P", bound="Program")

#: What impl offers, and what it is called in the standard library.
STANDARD = {
    "thread": "_thread",
    "threading": "threading",
    "queue": "queue",
    "sched": "sched",
    "subprocess": "subprocess",
    "multiprocessing": "multiprocessing",
    "futures": "concurrent.futures",
}
OURS = {area: "plait." + ("_thread" if area == "thread" else area) for area in STANDARD}
IMPLEMENTATIONS = {"stdlib": STANDARD, "plait": OURS}


class Wrong(Exception):
    """The implementation under test did something else than the row asks for; the text says what was seen."""


class Absent(Exception):
    """The implementation lacks what the scenario needs, or this system has no way to show what it is about."""


# ------------------------------------------------------------------------------------------------- the declaration


class Scenario(NamedTuple):
    """One scenario as declared."""

    row: str
    title: str
    deadline: float
    reproduced: bool | str | None
    needs: tuple[str, ...]
    alone: bool
    warm: Callable[[Impl], object] | None
    function: Callable[[Impl], object]
    hopeless: str | None = None

    @property
    def name(self) -> str:
        return self.function.__name__

    def claimed(self, version: tuple[int, int] | None = None, pypy: bool | None = None) -> bool:
        """Is it claimed that the standard module of this Python (3.11, say) fails?"""
        version = version or sys.version_info[:2]
        pypy = sys.implementation.name != "cpython" if pypy is None else pypy
        if pypy or not self.reproduced:
            return False
        return self.reproduced is True or _satisfies_all(version, self.reproduced)

    def is_hopeless(self) -> bool:
        """Is this Python one whose own defect makes every implementation fail?"""
        cpython = sys.implementation.name == "cpython"
        return bool(cpython and self.hopeless and _satisfies_all(sys.version_info[:2], self.hopeless))


def _satisfies_all(version: tuple[int, int], conditions: str) -> bool:
    answers = [_satisfies(version, condition.strip()) for condition in conditions.split(",")]  # all are read
    return all(answers)


def _satisfies(version: tuple[int, int], condition: str) -> bool:
    found = re.fullmatch(r"(<=|>=|<|>|)(\d+)\.(\d+)", condition)
    if not found:
        raise ValueError(f"{condition!r} is no Python such as 3.11 or <3.15")
    other = int(found[2]), int(found[3])
    return {
        "": version == other,
        "<": version < other,
        "<=": version <= other,
        ">": version > other,
        ">=": version >= other,
    }[found[1]]


def scenario(
    row: str,
    title: str,
    *,
    deadline: float = 20.0,
    reproduced: bool | str | None = None,
    needs: tuple[str, ...] = (),
    alone: bool = False,
    warm: Callable[[Impl], object] | None = None,
    hopeless: str | None = None,
) -> Callable[[Callable[[Impl], object]], Callable[[Impl], object]]:
    """Declare the function below to be a scenario; the module's docstring says what each parameter means."""

    def declare(function: Callable[[Impl], object]) -> Callable[[Impl], object]:
        declared = Scenario(row, title, deadline, reproduced, tuple(needs), alone, warm, function, hopeless)
        declared.claimed()  # a misspelt condition is told now
        declared.is_hopeless()
        function.scenario = declared  # type: ignore[attr-defined]
        return function

    return declare


# ------------------------------------------------------------------------------------------ the modules under test


class Impl:
    """The modules under test: `impl.queue` is `plait.queue` or `queue`. Modules are imported when first used."""

    thread: Any
    threading: Any
    queue: Any
    sched: Any
    subprocess: Any
    multiprocessing: Any
    futures: Any

    def __init__(self, name: str) -> None:
        if name not in IMPLEMENTATIONS:
            raise ValueError(f"no implementation is called {name!r}; there are {', '.join(IMPLEMENTATIONS)}")
        self.name = name

    def __repr__(self) -> str:
        return f"Impl({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Impl, (self.name,)

    def __getattr__(self, area: str) -> Any:
        if area not in STANDARD:
            raise AttributeError(f"{self!r} has no {area}; it has {', '.join(STANDARD)}")
        return self.module(area)

    def module(self, dotted: str) -> Any:
        """`impl.module("multiprocessing.connection")`: a submodule of the implementation under test."""
        area, _, rest = dotted.partition(".")
        module = IMPLEMENTATIONS[self.name][area] + ("." + rest if rest else "")
        return importlib.import_module(module)

    def find(self, wanted: str) -> Any:
        """What `"queue.Queue.peek"` or `"subprocess.run(kill_tree)"` names; Absent if it is not there."""
        dotted, bracket, parameter = wanted.rstrip(")").partition("(")
        area, *names = dotted.split(".")
        path = area
        try:
            found = self.module(area)
        except ModuleNotFoundError as error:
            raise Absent(f"has no {area}") from error
        for name in names:
            path += "." + name
            try:
                found = getattr(found, name)
            except AttributeError:
                try:
                    found = self.module(path)
                except ImportError:
                    raise Absent(f"has no {path}") from None
        if bracket and not _takes(found, parameter):
            raise Absent(f"has no {wanted}")
        return found

    def has(self, wanted: str) -> bool:
        try:
            self.find(wanted)
        except Absent:
            return False
        return True


def _takes(function: Any, parameter: str) -> bool:
    """A parameter by name; one that only `**keywords` would swallow does not count."""
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


# ---------------------------------------------------------------------------------------------- waiting with bounds


def returns(seconds: float, function: Callable[..., T], /, *args: Any, **keywords: Any) -> T:
    """Call in a bare thread; the result or exception of the call, or Wrong if it takes longer than *seconds*.

    The thread is the interpreter's lowest, which nothing joins: a call that never ends does not keep the scenario.
    """
    done = _thread.allocate_lock()
    done.acquire()
    outcome: list[tuple[bool, Any]] = []

    def call() -> None:
        try:
            outcome.append((True, function(*args, **keywords)))
        except BaseException as error:  # it is raised again below, in the caller
            outcome.append((False, error))
        done.release()

    _thread.start_new_thread(call, ())
    if not done.acquire(timeout=seconds):
        raise Wrong(f"{_named(function)} did not return in {seconds:g} s")
    good, result = outcome.pop()
    if not good:
        raise result
    return result  # type: ignore[no-any-return]


def _named(function: Any) -> str:
    function = getattr(function, "func", function)
    return f"{getattr(function, '__qualname__', None) or type(function).__name__}()"


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Wrong if the body takes longer. It cannot end a body that hangs: see `returns` for that."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    if took > seconds:
        raise Wrong(f"{what} took {took:.2f} s, allowed {seconds:g} s")


def until(seconds: float, what: str, condition: Callable[[], T | None]) -> T:
    """The first true value of *condition*, asked again and again; Wrong("what ...") when it is not true in time."""
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise Wrong(f"{what}: not in {seconds:g} s")
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------- programs of their own


class Program:
    """A Python program that the scenario started. Use as a context manager: leaving it kills what still runs.

    It leads a process group, so that `group(signal.SIGINT)` is what Ctrl-C in a terminal is.
    """

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self._files = tempfile.mkdtemp(prefix="program-", dir=os.getcwd())
        out, err = (os.path.join(self._files, name) for name in ("out", "err"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.argv = argv
        self.begun = time.monotonic()
        self._status: int | None = None
        self.pid = os.posix_spawn(
            argv[0],
            argv,
            {**os.environ, **(env or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, out, flags, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, err, flags, 0o600),
            ],
            setpgroup=0,
            setsigdef=[signal.SIGINT],
        )

    def __enter__(self: P) -> P:  # noqa: PYI019 - Self came with 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.group(signal.SIGKILL)
            self.wait(10)

    @property
    def out(self) -> str:
        return Path(self._files, "out").read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        return Path(self._files, "err").read_text(encoding="utf-8", errors="replace")

    def poll(self) -> int | None:
        """The exit code (minus the signal's number), None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, seconds: float) -> int:
        """The exit code; Wrong if it still runs after *seconds*."""
        until(seconds, "the program did not end", lambda: self.poll() is not None)
        assert self._status is not None
        return self._status

    def until_out(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """The match, as soon as its output has one. Wrong if it ends or takes too long before."""

        def look() -> re.Match[str] | None:
            ended = self.poll() is not None
            found = re.search(pattern, self.out)
            if ended and not found:
                raise Wrong(
                    f"the program ended with {self._status} before it said {pattern!r}: {self.err[-300:]}"
                )
            return found

        return until(seconds, f"the program did not say {pattern!r}", look)

    def send(self, number: int) -> None:
        """Signal the program alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def group(self, number: int) -> None:
        """Signal it and all that stayed in its process group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


def python(*argv: object, env: dict[str, str] | None = None) -> Program:
    """Start this interpreter with *argv* (`"-c", code` or a file's path and arguments)."""
    return Program([sys.executable, *map(str, argv)], env)


def program(impl: Impl, code: str, *argv: object, env: dict[str, str] | None = None) -> Program:
    """Start a program file of *code*, before which `impl` is defined; its `sys.argv[1:]` is *argv*.

    A file, so that spawned children of it can import its main module: mind the main guard.
    """
    folder = tempfile.mkdtemp(prefix="program-", dir=os.getcwd())
    path = Path(folder, "main.py")
    path.write_text(
        f"from faults.scenario import Impl\nimpl = Impl({impl.name!r})\n{code}\n", encoding="utf-8"
    )
    return python(path, *argv, env=env)


# --------------------------------------------------------------------------------------------------------- counting


def _stat(pid: int | str) -> tuple[str, int] | None:
    """State and parent, None for a process that is gone."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may itself hold brackets
    return fields[0], int(fields[1])


def alive(pid: int) -> bool:
    """Is there such a process, zombies not counted?"""
    found = _stat(pid)
    return found is not None and found[0] not in "ZX"


def descendants(pid: int | None = None, zombies: bool = False) -> list[int]:
    """The processes below *pid* (this process), by the chain of parents: orphans are no longer among them."""
    table = {
        int(entry): found for entry in os.listdir("/proc") if entry.isdigit() and (found := _stat(entry))
    }
    family = {pid or os.getpid()}
    while True:
        grown = family | {child for child, (_, parent) in table.items() if parent in family}
        if grown == family:
            break
        family = grown
    family.discard(pid or os.getpid())
    return sorted(child for child in family if zombies or table[child][0] not in "ZX")


def with_word(word: str) -> list[int]:
    """Live processes whose command line has *word*, orphans too: `sh -c 'sleep 77.123'` is found by "77.123"."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            line = Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue  # it has just gone
        if word.encode() in line and alive(int(entry)):
            found.append(int(entry))
    return sorted(found)


def shared_memory() -> set[str]:
    """The names in /dev/shm: segments, and named semaphores as `sem.*`."""
    try:
        return set(os.listdir("/dev/shm"))
    except FileNotFoundError:
        return set()


def descriptors() -> dict[int, str]:
    """The open descriptors of this process and what each is, after a garbage collection."""
    gc.collect()
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            # A file that was removed meanwhile is the same file.
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}").removesuffix(" (deleted)")
        except OSError:
            continue  # the one by which the folder is being listed
    return found
