# SPDX-License-Identifier: MIT
"""A child that only the thread which starts it will ever know of."""

# Most commands are run to their end, without a time limit, by a call that gives nobody else the Popen. Nobody can kill such
# a child or ask for its status meanwhile, so less has to be done for it: see SoleHandle in _handle.py. And most of these
# have no options, so most of what Popen.__init__ decides is decided: `start_plainly`.
#
# A start is a few dozen steps of the interpreter and takes as long as what the kernel does for some of them: between two
# starts other programs use the processor, and everything that is touched has to be fetched again. So the steps are few,
# and touch little.

from __future__ import annotations

import sys

from . import _popen, _start
from ._command import candidates
from ._handle import SoleHandle
from ._in_flight import in_flight
from ._platform import winapi
from ._popen import Popen
from ._start import StartRequest, failed, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SolePopen"]

_INIT, _EXECUTE = Popen.__init__, Popen._execute_child


class SolePopen(Popen["Any"]):
    """A Popen that nobody but the thread that makes it will ever know of, and that is waited for without a time limit."""

    _is_known_to_one = True

    def start_plainly(self, args: list[Any], close_fds: bool = True) -> None:
        """`__init__`, for who has a list, and nothing else to say."""
        if (
            _start.order[0] != "fork_exec"
            or _popen.abandoned
            or failed
            or winapi is not None
            # Replaced by somebody: then by their rules.
            or Popen.__init__ is not _INIT
            or Popen._execute_child is not _EXECUTE
        ):
            self.__init__(args, close_fds=close_fds)  # type: ignore[misc]
            return
        self.args = args
        request = StartRequest()
        request.argv = argv = args[:]
        request.program = program = argv[0]
        sys.audit("subprocess.Popen", program, argv, None, None)
        request.executables = candidates(program, None)
        if not close_fds:
            request.close_fds = False
        request.started, request.opened = [], []
        key = id(request)
        try:
            in_flight[key] = request.opened
            try:
                _start.STARTERS["fork_exec"](request)
            except _start.NotExpressible:
                _start.start(request)
            self.pid = pid = request.started[0]
            self._handle = SoleHandle(pid, False)
            finish(request)
        except BaseException:
            failed[key] = request  # whatever strikes from here on, the next start ends what is left
            try:
                self._undo_start(request, None, [])
            finally:  # once more, should a signal handler have raised in there too
                self._undo_start(request, None, [])
            raise

    def _execute_child(self, request: Any, *about: Any) -> None:
        if about or Popen._execute_child is not _EXECUTE:
            super()._execute_child(request, *about)
            return
        self.pid = _start.start(request)
        handle = request.handle
        self._handle = SoleHandle(self.pid, self._has_pipes) if handle is None else handle
