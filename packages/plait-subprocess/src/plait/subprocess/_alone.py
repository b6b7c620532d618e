# SPDX-License-Identifier: MIT
"""A child that only the thread which starts it will ever know of."""

# Most commands are run to their end, without a time limit, by a call that gives nobody else the Popen. Nobody can kill such
# a child or ask for its status meanwhile, so less has to be done for it: see SoleHandle in _handle.py. And most of these
# have neither options nor pipes, so all that Popen.__init__ decides is decided: for them there is `run_plainly`, which makes
# no Popen unless something goes wrong.
#
# Why it is written out. While a child is started and runs, others use the processor; everything that is touched afterwards
# has to be fetched again. A step of the interpreter takes five times as long there as in a loop that does nothing else,
# and a Popen is several hundred. So the steps are few, and touch little.
#
# What must hold is what holds for all starts (_start.py, _in_flight.py) and for those who own their children (_ending.py).
# It does here because nothing is known only to a local variable: the descriptors, the pid and the status come to be in
# lists, which the clean-up has as well.

from __future__ import annotations

import os
import sys
from itertools import starmap

from . import _platform, _popen, _start
from ._command import candidates
from ._ending import let_go, wind_up
from ._handle import SoleHandle
from ._in_flight import CLOSE_ON_EXEC, in_flight, no_fork, pipe2
from ._platform import hold_no_more
from ._popen import Popen
from ._start import StartRequest, await_exec, failed, finish
from ._switches import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["COMMUNICATE", "SolePopen", "is_plain", "run_plainly"]

#: The options that the short way takes.
_PLAIN = frozenset(("close_fds",))
_LONGEST_REPORT = 4096

_INIT, _EXECUTE, _WAIT, _WAIT_STEP = Popen.__init__, Popen._execute_child, Popen.wait, Popen._wait
COMMUNICATE = Popen.communicate
_STARTER = _start.STARTERS["fork_exec"]


class SolePopen(Popen["Any"]):
    """A Popen that nobody but the thread that makes it will ever know of, and that is waited for without a time limit."""

    _is_known_to_one = True

    def _execute_child(self, request: Any, *about: Any) -> None:
        if about or Popen._execute_child is not _EXECUTE:
            super()._execute_child(request, *about)
            return
        self.pid = _start.start(request)
        handle = request.handle
        self._handle = SoleHandle(self.pid, self._has_pipes) if handle is None else handle


def is_plain(popenargs: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether `run_plainly` may be called: nothing is asked for that it does not know, and nobody has replaced anything."""
    return (
        len(popenargs) == 1
        and type(popenargs[0]) is list
        and (not options or options.keys() <= _PLAIN)
        and not (_popen.abandoned or failed)
        # Which is so on POSIX systems, when something has been started before.
        and bool(_platform._known_shape)
        and pipe2 is not None
        and not no_fork._is_owned()  # by who has been interrupted by the signal handler that calls this
        and _start.order[0] == "fork_exec"
        and _start.STARTERS["fork_exec"] is _STARTER
        and names.get("_USE_VFORK") is True
        and Popen.__init__ is _INIT
        and Popen._execute_child is _EXECUTE
        and Popen.communicate is COMMUNICATE
        and Popen.wait is _WAIT
        and Popen._wait is _WAIT_STEP
    )


def run_plainly(args: list[Any], close_fds: bool = True) -> int:
    """Run a command without pipes and without a time limit to its end; its return code."""
    argv, close_fds = args[:], bool(close_fds)
    program = argv[0]
    sys.audit("subprocess.Popen", program, argv, None, None)
    executables = candidates(program, None)
    opened: list[int] = []
    started: list[int] = []
    said: list[tuple[int, int]] = []
    request = StartRequest()  # for the clean-up
    request.opened, request.started = opened, started
    key = id(request)
    try:
        in_flight[key] = opened
        with no_fork:
            opened.extend(*map(pipe2, CLOSE_ON_EXEC))
        read_end, write_end = opened
        if write_end < 3:
            _start_in_full(request, args, program, executables, close_fds)
        else:
            keep = (write_end,)
            fork_exec = names.get("_fork_exec") or _platform._posixsubprocess.fork_exec
            # fmt: off
            question: tuple[Any, ...] = (
                argv, executables, close_fds, keep, None, None, -1, -1, -1, -1, -1, -1, read_end, write_end,
                True, False, -1, None, None, None, -1, None, True,
            )
            # fmt: on
            shape = _platform._known_shape
            if shape != 23:
                question = _platform.of_shape(shape or 0, question)
            started.extend(starmap(fork_exec, (question,)))
            with no_fork:
                any(map(os.close, map(opened.pop, (-1,))))
            if report := os.read(read_end, _LONGEST_REPORT):
                request.argv, request.program, request.executables = argv, program, executables
                await_exec(read_end, request, report)
            # That needs no lock: a copy of the end to read from holds up nobody.
            any(map(os.close, map(opened.pop, (-1,))))
        in_flight.pop(key, None)
        try:
            said.extend(map(os.waitpid, started, (0,)))
        except ChildProcessError:
            return 0  # somebody else took the status
        return os.waitstatus_to_exitcode(said[0][1])
    except BaseException as problem:
        if not said:
            failed[key] = request  # whatever strikes from here on, the next start ends what is left
        try:
            hold_no_more(no_fork)
        finally:  # at once, and once more: nothing else is done before
            hold_no_more(no_fork)
        process = object.__new__(SolePopen)
        process.args = args
        try:
            hold_no_more(no_fork)  # as `holding` does, but once for all
            _take_over(process, request, said)
            if isinstance(problem, KeyboardInterrupt):
                process._give_grace()
            wind_up(process, problem, False, 0.0)
        finally:  # once more, should a signal handler have raised in there too
            hold_no_more(no_fork)
            _take_over(process, request, said)
            let_go(process, False)
        raise


def _start_in_full(request: StartRequest, argv: list[Any], program: Any, where: Any, close_fds: bool) -> None:
    """The start, where a descriptor of ours would be one of the standard three."""
    finish(request)
    in_flight[id(request)] = request.opened
    request.argv, request.program, request.executables, request.close_fds = argv, program, where, close_fds
    _start.start(request)
    finish(request)


def _take_over(process: SolePopen, request: StartRequest, said: list[Any]) -> None:
    """Give *process*, as if it had started it, the child, unless that has ended. May be called again."""
    finish(request)
    started = tuple(
        request.started
    )  # another thread, which looks after what clean-ups have left, may empty it
    if started and not said and process._handle is None:
        process.pid = started[0]
        process._handle = SoleHandle(process.pid, False)
    failed.pop(id(request), None)
