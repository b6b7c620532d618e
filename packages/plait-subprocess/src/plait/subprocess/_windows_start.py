# SPDX-License-Identifier: MIT
"""Starting one child on Windows: handles, the command line, CreateProcess."""

# Who owns what
#
#   A pipe is two kernel handles. Ours becomes a descriptor of the C runtime, which owns the handle from then on, and
#   then a PipeEnd, which owns the descriptor. The child's is copied, because only a copy can be made inheritable
#   without a race, and both are closed as soon as the child has its own. Until then everything that is nobody's is in
#   `opened`; numbers get into it and out of it in the same call into the interpreter that makes or closes them, so
#   that a signal handler which raises in between finds each in exactly one place. (See _platform, which does the same.)
#
#   CreateProcess gives a handle to the process, which the ProcessHandle keeps, and one to its first thread, which is
#   closed here.
#
# Who inherits what
#
#   Inheriting is all or nothing in Windows: every inheritable handle, or, with a list, those in the list. So
#   with close_fds=True whatever the child is to have goes into the list. With close_fds=False it gets everything that
#   is inheritable at that moment; which is why the time from "our copies are inheritable" to "they are closed" is
#   one step for all starts of this package (`_one_at_a_time`): such a child would keep another's pipe open. Against
#   code that starts processes by other means nothing can be done, as the documentation of the standard module says too.

from __future__ import annotations

import io
import os
import sys

from ._cmdline import list2cmdline
from ._platform import RLock, msvcrt, winapi
from ._windows import (
    CREATE_NEW_PROCESS_GROUP,
    STARTF_USESHOWWINDOW,
    STARTF_USESTDHANDLES,
    STD_ERROR_HANDLE,
    STD_INPUT_HANDLE,
    STD_OUTPUT_HANDLE,
    SW_HIDE,
    copied,
)
from ._windows_handle import Handle, WindowsProcessHandle, terminate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._windows import STARTUPINFO

__all__ = ["PipeEnd", "WindowsStart", "refuse"]

_PIPE, _STDOUT, _DEVNULL = -1, -2, -3
_STANDARD = (STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE)
_DUPLICATE_SAME_ACCESS = 0x2
_ERROR_DIRECTORY = 267
#: How long the end of who was terminated may take. A guess.
_END_SECONDS = 5.0

_one_at_a_time = RLock()

#: What Windows has not, and what comes near it.
_INSTEAD = {
    "preexec_fn": "there is no fork; let the child's own code do it",
    "start_new_session": "pass creationflags=CREATE_NEW_PROCESS_GROUP, or DETACHED_PROCESS",
    "process_group": "pass creationflags=CREATE_NEW_PROCESS_GROUP",
    "pass_fds": "make handles inheritable and list them in startupinfo.lpAttributeList['handle_list']",
    "user": "the child runs as who starts it",
    "group": "the child runs as who starts it",
    "extra_groups": "the child runs as who starts it",
    "umask": "Windows knows none",
}


def refuse(**given: Any) -> None:
    """Raise ValueError for a parameter that asks for something which Windows cannot do."""
    for name, value in given.items():
        if value:
            raise ValueError(f"{name} is not supported on Windows: {_INSTEAD[name]}")


class PipeEnd(io.FileIO):
    """Our end of a pipe, from whose buffer communicate() can take what is there without a call that may block."""

    #: While it is a bytearray, what the buffer above writes goes there, and the pipe seems to be empty.
    diverted: bytearray | None = None

    def readinto(self, buffer: Any) -> int | None:
        return super().readinto(buffer) if self.diverted is None else None

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        if self.diverted is None:
            return super().write(data)
        self.diverted += data
        return len(data)


def _close_all(handles: list[int]) -> None:
    while handles:
        any(map(winapi.CloseHandle, map(handles.pop, (-1,))))


class WindowsStart:
    """One start. `streams` are our ends of the pipes. The caller has to call close(), or undo() after an exception."""

    def __init__(self) -> None:
        self.opened: list[int] = []  # kernel handles that are nobody's yet
        self.descriptors: list[int] = []  # of the C runtime: /dev/null, and ours before they are streams
        self.streams: list[PipeEnd | None] = [None, None, None]
        self.child: list[int | None] = [None, None, None]
        self.started: WindowsProcessHandle | None = None

    def close(self) -> None:
        """Close what was for the child, or is still nobody's. May be called again."""
        _close_all(self.opened)
        while self.descriptors:
            any(map(os.close, map(self.descriptors.pop, (-1,))))

    def undo(self) -> None:
        """Close everything, and end the child if there is one. May be called again."""
        self.close()
        for stream in self.streams:
            if stream is not None:
                stream.close()
        if self.started is not None:  # nobody will know of the child
            self.started.send_signal(9)
            self.started.wait(_END_SECONDS)

    # -- the three standard streams -------------------------------------------------------------------------------

    def plan(self, wanted: tuple[Any, Any, Any]) -> None:
        """Make our pipe ends, and find the handles that the child is to have."""
        if wanted == (None, None, None):
            return
        for number, one in enumerate(wanted):
            self.child[number] = self._planned(number, one)

    def _planned(self, number: int, wanted: Any) -> int:
        if wanted is None:
            handle = winapi.GetStdHandle(_STANDARD[number])
            # A program without a console may have none. Then the child gets a pipe that nobody is at the other end of.
            return int(handle) if handle else self._pipe()[number > 0]
        if wanted == _PIPE:
            ends = self._pipe()
            self._keep(number, ends[number == 0])
            return ends[number > 0]
        if wanted == _DEVNULL:
            self.descriptors.extend(map(os.open, (os.devnull,), (os.O_RDWR,)))
            return int(msvcrt.get_osfhandle(self.descriptors[-1]))
        if wanted == _STDOUT:
            if number != 2:
                raise ValueError("STDOUT can only be given for stderr: it means 'the same as stdout'")
            assert self.child[1] is not None
            return self.child[1]
        return int(msvcrt.get_osfhandle(wanted if isinstance(wanted, int) else wanted.fileno()))

    def _pipe(self) -> tuple[int, int]:
        self.opened.extend(*map(winapi.CreatePipe, (None,), (0,)))
        return self.opened[-2], self.opened[-1]

    def _keep(self, number: int, handle: int) -> None:
        flags = os.O_WRONLY if number == 0 else os.O_RDONLY
        take = map(self.opened.pop, map(self.opened.index, (handle,)))
        try:
            self.descriptors.extend(map(msvcrt.open_osfhandle, take, (flags,)))
        except OSError:
            winapi.CloseHandle(handle)  # the C runtime is out of descriptors and has not taken it
            raise
        (self.streams[number],) = map(
            PipeEnd, map(self.descriptors.pop, (-1,)), ("wb" if number == 0 else "rb",)
        )

    def _inheritable(self, handle: int) -> int:
        me = winapi.GetCurrentProcess()
        self.opened.extend(
            map(
                winapi.DuplicateHandle,
                *((me,), (handle,), (me,), (0,), (True,), (_DUPLICATE_SAME_ACCESS,)),
            )
        )
        return int(self.opened[-1])

    # -- the start ------------------------------------------------------------------------------------------------

    def start(
        self,
        args: Any,
        executable: Any,
        shell: bool,
        cwd: Any,
        env: Mapping[Any, Any] | None,
        startupinfo: Any,
        flags: int,
        close_fds: bool,
        in_job: bool,
    ) -> WindowsProcessHandle:
        """Start the child; raise OSError with the name of the program, or of *cwd*."""
        info = copied(startupinfo)
        line = _command_line(args, shell)
        if shell:
            executable = executable if executable is not None else _shell()
            line = f'{os.fsdecode(executable)} /c "{line}"'
            if not info.dwFlags & STARTF_USESHOWWINDOW:
                info.dwFlags |= STARTF_USESHOWWINDOW
                info.wShowWindow = SW_HIDE
        program = None if executable is None else os.fsdecode(executable)
        folder = None if cwd is None else os.fsdecode(cwd)
        sys.audit("subprocess.Popen", program, line, folder, env)
        with _one_at_a_time:
            inherit = self._settle(info, close_fds)
            try:
                return self._create((program, line, None, None, inherit, flags, env, folder, info), in_job)
            except OSError as problem:
                if problem.filename is None:
                    in_folder = getattr(problem, "winerror", None) == _ERROR_DIRECTORY
                    problem.filename = folder if in_folder else program or _first(args)
                raise
            finally:
                _close_all(self.opened)

    def _settle(self, info: STARTUPINFO, close_fds: bool) -> bool:
        """Write into *info* what the child inherits; whether it inherits anything."""
        listed: list[int] = info.lpAttributeList["handle_list"]
        if listed and not close_fds:
            import warnings

            warnings.warn(
                "startupinfo.lpAttributeList['handle_list'] overriding close_fds", RuntimeWarning, 4
            )
            close_fds = True
        if self.child[0] is not None:
            copies: dict[int, int] = {}
            for handle in self.child:
                assert handle is not None
                if handle not in copies:  # the list must not name a handle twice
                    copies[handle] = self._inheritable(handle)
            info.hStdInput, info.hStdOutput, info.hStdError = (copies[one or 0] for one in self.child)
            info.dwFlags |= STARTF_USESTDHANDLES
            if close_fds:
                listed.extend(copies.values())
        if not close_fds:
            return True
        return bool(listed)

    def _create(self, arguments: tuple[Any, ...], in_job: bool) -> WindowsProcessHandle:
        job = None
        if in_job:
            from ._job import CREATE_SUSPENDED, Job

            *before, flags, env, folder, info = arguments
            job = Job(bool(flags & CREATE_NEW_PROCESS_GROUP))
            arguments = (*before, flags | CREATE_SUSPENDED, env, folder, info)
        created: list[
            Any
        ] = []  # process, thread, and their numbers; the thread's handle only while it is open
        try:
            created.extend(*map(winapi.CreateProcess, *zip(arguments)))
            created[:1] = map(Handle, created[:1])
            if job is not None:
                job.admit(int(created[0]), created[1])
            self.started = WindowsProcessHandle(created[2], created[0], job)
            any(map(winapi.CloseHandle, map(created.pop, (1,))))
        except BaseException:
            if created:
                terminate(int(created[0]))  # if not, it has ended already
                if len(created) == 4:
                    winapi.CloseHandle(created[1])
                if not isinstance(created[0], Handle):
                    winapi.CloseHandle(created[0])
            raise
        return self.started


def _command_line(args: Any, shell: bool) -> str:
    if isinstance(args, str):
        return args
    if isinstance(args, (bytes, os.PathLike)):
        if shell:
            kind = "bytes" if isinstance(args, bytes) else "a path"
            raise TypeError(f"with shell=True, args is a command line for the shell, not {kind}")
        return list2cmdline([args])
    return list2cmdline(args)


def _first(args: Any) -> Any:
    return args if isinstance(args, (str, bytes, os.PathLike)) else next(iter(args), None)


def _shell() -> str:
    """The command interpreter: never one that merely lies in the current directory or on PATH."""
    import ntpath

    given = os.environ.get("COMSPEC")
    if not given:
        given = ntpath.join(os.environ.get("SYSTEMROOT", ""), "System32", "cmd.exe")
    if not ntpath.isabs(given):
        raise FileNotFoundError(
            "no shell: neither COMSPEC nor SYSTEMROOT names an absolute path; pass executable"
        )
    return given
