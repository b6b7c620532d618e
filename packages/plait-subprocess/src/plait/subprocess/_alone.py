# SPDX-License-Identifier: MIT
"""A child that only the thread which starts it will ever know of."""

# Most commands are run to their end, without a time limit, by a call that gives nobody else the Popen. Nobody can kill such
# a child or ask for its status meanwhile, so less has to be done for it: see SoleHandle in _handle.py. And most of these
# have no options but those that say where the outputs go, which are wanted or not; then all that Popen.__init__ decides
# is decided. For them there is `run_plainly`, which makes no Popen, no file object and no pidfd unless something goes wrong.
#
# Why it is written out. While a child is started and runs, others use the processor; everything that is touched afterwards
# has to be fetched again. A step of the interpreter takes five times as long there as in a loop that does nothing else,
# and a Popen is several hundred. So the steps are few, and touch little. And most of them are taken while the child
# becomes ready: between the end of its output and the return there are a close(), a waitpid(), and what is returned.
#
# What must hold is what holds for all starts (_start.py, _in_flight.py) and for those who own their children (_ending.py).
# It does here because nothing is known only to a local variable: the descriptors, the pid and the status come to be in
# lists, which the clean-up has as well.
#
# The order
#   1. `opened`, which forked copies of this process do not keep, gets a pipe for each output that is wanted, the end to
#      read from first. `borrowed` gets the pipe for errors: see _error_pipe.py.
#   2. `started` gets the pid, when the child has become the program or could not. It has the ends to write to, as 1 and 2.
#   3. Our copies of these are closed, or their readers would wait for us: `opened` has our ends of the outputs only.
#   4. They are read to their ends, as long as these take: whatever else has them open holds us up, as it has always been
#      without a time limit. They are closed. More than a few reads are good for is read by an Exchange, and our ends
#      belong to file objects, in `streams`, from then on.
#   5. `status` gets what waitpid() says. The number means our child until then: nobody else takes its status, but for a
#      stranger who takes any child's, and then there is nothing left to be waited for.
#   6. If it may mean that the child could not become the program, the report of that is read. The pipe for errors is good
#      for the next child then, unless there was no status. What was reported is raised.
#
# What if it is interrupted. Whatever is raised, by us or by a signal handler between any two calls, the request is put into
# `failed`, for the next start to end the child if nothing else does; then a SolePopen takes over what is in the lists, and
# that is ended as every child of run() is: its moment of grace after Ctrl-C, SIGKILL, its status. Our ends of the
# outputs stay open until then, so that a child which says something in its last moment is not ended by that. What was
# read by then is dropped.
#
# What if somebody forks. The copy keeps nothing that is in `opened`, ends to read from included: the child sees that nobody
# reads any more as soon as we do not. Nothing of Python runs in our own child before it becomes the program. Where a signal
# handler forks and the copy returns from it, the copy finds the descriptors closed and no child of its own.

from __future__ import annotations

import io
import os
import sys
from itertools import chain, starmap

from . import _platform, _popen, _start
from ._command import candidates
from ._conversation import as_text
from ._ending import let_go, wind_up
from ._ends import PIPE, STDOUT
from ._error_pipe import FAILED, borrow, discard, give_back, report_in
from ._exchange import Exchange, read_little
from ._failures import raise_report
from ._handle import SoleHandle
from ._in_flight import CLOSE_ON_EXEC, close, in_flight, no_fork, pipe2
from ._platform import hold_no_more, holding, raise_if_from_handler
from ._popen import Popen
from ._start import StartRequest, failed, finish
from ._switches import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._error_pipe import ErrorPipe

__all__ = ["COMMUNICATE", "SolePopen", "can_be_heard", "hear_plainly", "is_plain", "run_plainly"]

#: The options that the short way takes, if the outputs are wanted. (Otherwise it is `close_fds` alone.)
_HEARD = frozenset(("close_fds", "stdout", "stderr", "text", "encoding", "errors"))

#: By the number of outputs: the flags of all pipes; where the ends to write to are among what is opened.
_PIPES = tuple(CLOSE_ON_EXEC * count for count in range(3))
_TO_WRITE_TO = ((), (1,), (3, 1))

_STEPS = (Popen.__init__, Popen._execute_child, Popen.communicate, Popen.wait, Popen._wait)
_EXECUTE, COMMUNICATE = Popen._execute_child, Popen.communicate
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
        and popenargs[0] != []
        and (not options or (len(options) == 1 and "close_fds" in options))
        and not (_popen.abandoned or failed)
        # Which is so on POSIX systems, when something has been started before.
        and not (not _platform._known_shape or pipe2 is None)
        and not no_fork._is_owned()  # by who has been interrupted by the signal handler that calls this
        and _start.order[0] == "fork_exec"
        and _start.STARTERS["fork_exec"] is _STARTER
        and names.get("_USE_VFORK") is True
        and (Popen.__init__, Popen._execute_child, Popen.communicate, Popen.wait, Popen._wait) == _STEPS
    )


def can_be_heard(popenargs: tuple[Any, ...], options: dict[str, Any], capture_output: bool) -> bool:
    """Whether `hear_plainly` may be called. With *capture_output* these options do not say where the outputs go."""
    if not options.keys() <= _HEARD or (sys.flags.warn_default_encoding and not options.get("encoding")):
        return False
    stdout, stderr = options.get("stdout"), options.get("stderr")
    if capture_output:
        if not stdout is stderr is None:
            return False  # which is refused
    elif (
        stdout != PIPE
        or type(stdout) is not int
        or not (stderr is None or (type(stderr) is int and stderr in (PIPE, STDOUT)))
    ):
        return False
    return is_plain(popenargs, {})


def hear_plainly(
    args: list[Any],
    capture_output: bool,
    close_fds: bool = True,
    stdout: int | None = None,  # noqa: ARG001 - PIPE, if the outputs are not both captured
    stderr: int | None = None,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
) -> tuple[int, Any, Any]:
    """Run a command whose output is wanted to its end, without a time limit; its return code, and what it has said."""
    decoder = None
    if text or encoding or errors:
        # Before the start, so that a wrong encoding is found out before the program has done anything.
        decoder = io.TextIOWrapper(io.BytesIO(), encoding, errors)
    out: list[bytes] = []
    if capture_output or stderr == PIPE:
        err: list[bytes] = []
        returncode = run_plainly(args, close_fds, (out, err))
        if decoder is None:
            return returncode, b"".join(out), b"".join(err)
        return returncode, as_text(b"".join(out), decoder), as_text(b"".join(err), decoder)
    returncode = run_plainly(args, close_fds, (out,), stderr is not None)
    if decoder is None:
        return returncode, b"".join(out), None
    return returncode, as_text(b"".join(out), decoder), None


def run_plainly(
    args: list[Any], close_fds: bool = True, outputs: Sequence[list[bytes]] = (), is_joined: bool = False
) -> int:
    """Run a command without a time limit to its end; its return code.

    *outputs* has a list for each output that is wanted, stdout first, to put in what has come of it. If *is_joined*, there
    is one for both.
    """
    argv, close_fds = args[:], bool(close_fds)
    program = argv[0]
    sys.audit("subprocess.Popen", program, argv, None, None)
    executables = candidates(program, None)
    count = len(outputs)
    opened: list[int] = []
    started: list[int] = []
    status: list[tuple[int, int]] = []
    mine: list[int] = []  # our ends of the outputs
    streams: list[io.FileIO] = []
    borrowed: list[ErrorPipe] = []
    request = StartRequest()  # for the clean-up
    request.opened, request.started, request.borrowed = opened, started, borrowed
    key = id(request)
    try:
        in_flight[key] = opened
        out = err = -1
        if count:
            with no_fork:
                opened.extend(chain.from_iterable(map(pipe2, _PIPES[count])))
            mine, out = opened[::2], opened[1]
            err = out if is_joined else -1 if count == 1 else opened[3]
        if count and min(opened) < 3:
            request.stdout, request.stderr = out, err
            _start_in_full(request, mine, args, program, executables, close_fds)
        else:
            read_end, write_end = borrow(borrowed).ends
            # fmt: off
            question: tuple[Any, ...] = (
                argv, executables, close_fds, (write_end,), None, None, -1, -1, -1, out, -1, err, read_end, write_end,
                True, False, -1, None, None, None, -1, None, True,
            )
            # fmt: on
            shape = _platform._known_shape
            if shape != 23:
                question = _platform.of_shape(shape or 0, question)
            fork_exec = names.get("_fork_exec") or _platform._posixsubprocess.fork_exec
            started.extend(starmap(fork_exec, (question,)))
            if count:
                with no_fork:
                    any(map(os.close, map(opened.pop, _TO_WRITE_TO[count])))
        if count:
            if not read_little(mine, outputs):
                _read_a_lot(mine, opened, streams, outputs)
            any(map(os.close, map(opened.pop, (-1,) * len(opened))))
        in_flight.pop(key, None)
        returncode = None
        if started[0] <= 0:
            started.clear()  # what stands in for fork_exec has started none
        else:
            try:
                status.extend(map(os.waitpid, started, (0,)))
                returncode = os.waitstatus_to_exitcode(status[0][1])
            except ChildProcessError as refusal:
                if status:
                    raise
                raise_if_from_handler(refusal)
                started.clear()  # somebody else took the status, and the number may mean anybody
        if borrowed:
            report = b"" if returncode is not None and 0 <= returncode < FAILED else report_in(borrowed)
            if returncode is None:
                discard(borrowed)
            else:
                give_back(borrowed)
            if report:
                request.program = program
                raise_report(report, request)
        return returncode or 0
    except BaseException as problem:
        if not status:
            failed[key] = request  # whatever strikes from here on, the next start ends what is left
        try:
            hold_no_more(no_fork)
        finally:  # at once, and once more: nothing else is done before
            hold_no_more(no_fork)
        process = object.__new__(SolePopen)
        process.args = args
        try:
            hold_no_more(no_fork)  # as `holding` does, but once for all
            _take_over(process, request, status, mine, streams)
            if isinstance(problem, KeyboardInterrupt):
                process._give_grace()
            wind_up(process, problem, False, 0.0)
        finally:  # once more, should a signal handler have raised in there too
            hold_no_more(no_fork)
            _take_over(process, request, status, mine, streams)
            let_go(process, False)
        raise


def _start_in_full(
    request: StartRequest, mine: list[int], argv: list[Any], program: Any, where: Any, close_fds: bool
) -> None:
    """The start, where a descriptor of ours would be one of the standard three."""
    opened = request.opened
    request.argv, request.program, request.executables, request.close_fds = argv, program, where, close_fds
    _start.start(request)
    close(opened, [fd for fd in opened if fd not in mine])


def _read_a_lot(
    mine: list[int], opened: list[int], streams: list[io.FileIO], outputs: Sequence[list[bytes]]
) -> None:
    """Go on reading, and close, where *outputs* has what `read_little` has left it at."""
    holding(no_fork, _own, mine, opened, streams)
    exchange = Exchange(None, tuple(streams), None)
    for stream, pieces in zip(streams, outputs, strict=True):
        exchange.begin_with(stream, pieces)
        pieces.clear()
    exchange.pump(None, None)
    for stream, pieces in zip(streams, outputs, strict=True):
        pieces.append(exchange.output_of(stream) or b"")


def _own(mine: list[int], opened: list[int], streams: list[io.FileIO]) -> None:
    """Put those of *mine* that are in *opened*, as file objects, into *streams*. May be called again, with the lock held."""
    for fd in mine:
        if fd in opened:
            streams.extend(map(io.FileIO, map(opened.pop, map(opened.index, (fd,)))))


def _take_over(
    process: SolePopen, request: StartRequest, status: list[Any], mine: list[int], streams: list[io.FileIO]
) -> None:
    """Give *process*, as if it had started it, the child, unless that has ended. May be called again."""
    # Another thread, which looks after what clean-ups have left, may empty it.
    started = tuple(request.started)
    if started and not status:
        if process._handle is None:
            process.pid = started[0]
            # Who has failed to start may have one, which knows that the status was taken.
            process._handle = request.handle or SoleHandle(process.pid, False)
        holding(no_fork, _own, mine, request.opened, streams)
        process.stdout, process.stderr = (*streams, None, None)[:2]
    finish(request)
    failed.pop(id(request), None)
