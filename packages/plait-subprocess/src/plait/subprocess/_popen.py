# SPDX-License-Identifier: MIT
"""One child process, its pipes, and its end."""

# Who owns what
#
#   A Popen owns its ends of the pipes, as file objects, and one ProcessHandle. The other ends exist only from
#   pipe() to the moment the child has them; they are closed here whatever happens.
#
#   A Popen that nobody refers to any more while its child still runs hands its ProcessHandle to `abandoned`.
#   Nobody sleeps on those; each later start looks at them once. So zombies never pile up, and nothing runs in
#   the background.
#
# Signal handlers and finalisers may call any method: there is no lock in this class. What two calls could
# disturb for each other (the status of the child) is in ProcessHandle, which is made for it. communicate() is
# for one thread at a time, as documented.

from __future__ import annotations

import io
import os
import sys
from time import monotonic

from . import _platform
from ._callers import level_of_the_caller
from ._ending import check_grace
from ._exchange import Exchange, LimitReached, open_exchange, read_little
from ._handle import ProcessHandle, SoleHandle, deadline_after, handle_of_new_child
from ._lines import LineFeeder, Listening
from ._results import Of, OutputTooLarge, SubprocessError, TimeoutExpired, incremental_decoder
from ._stand_in import feed, is_ours
from ._switches import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import IO, Any, AnyStr, overload

    from typing_extensions import Self, Unpack

    from . import _options

__all__ = ["DEVNULL", "OWN_PIPE", "PIPE", "STDOUT", "Popen", "SolePopen", "abandoned", "reap_abandoned"]

PIPE = -1
STDOUT = -2
DEVNULL = -3


class _OwnPipe(int):
    """PIPE, said by somebody who will let nobody else use our end of it, nor the Popen."""


OWN_PIPE = _OwnPipe(PIPE)

#: After Ctrl-C the child, which the terminal has interrupted too, gets this long to end before we go on.
_INTERRUPT_GRACE = 0.25

_LONGEST_REPR = 80

_text_encoding: Any = getattr(io, "text_encoding", None)

_DEFAULT_PATH = os.fsencode(os.defpath)

abandoned: list[ProcessHandle] = []


def reap_abandoned() -> None:
    """Look once at each child that no Popen stands for any more, and forget those that have ended."""
    for key, request in tuple(_platform.failed.items()):
        # Left by a clean-up that was cut short, or on its way out in another thread; handles do not get in its way.
        if request.call is None or not request.call.leave():  # else the lasting thread does it
            for pid in tuple(request.started):
                handle = request.handle or handle_of_new_child(pid)
                handle.send_signal(9)
                abandoned.append(handle)
            request.started.clear()
            _platform.finish(request)
        _platform.failed.pop(key, None)
    for handle in tuple(abandoned):
        if not handle.is_own_child or handle.poll() is not None:
            try:
                abandoned.remove(handle)
            except ValueError:
                pass  # another thread was faster


class _Ends:
    """The streams of one start: three descriptors for the child, three for us (-1: none)."""

    __slots__ = ("child", "mine", "opened")

    def __init__(self, opened: list[int]) -> None:
        self.child = [-1, -1, -1]  # what the child will have as 0, 1, 2
        self.mine = [-1, -1, -1]
        self.opened = opened  # whatever was opened for the start and belongs to no stream

    def plan(self, *all_wanted: Any) -> None:
        """Decide what the child's descriptors 0, 1 and 2 will be."""
        # What the caller has opened comes first: a number that is not open could be that of a pipe of ours later.
        for number, wanted in enumerate(all_wanted):
            if wanted is not None and (not isinstance(wanted, int) or wanted not in (PIPE, DEVNULL, STDOUT)):
                self.child[number] = self._given(wanted)
        for number, wanted in enumerate(all_wanted):
            if not isinstance(wanted, int):
                continue
            if wanted == PIPE:
                read_end, write_end = _platform.open_pipe(self.opened)
                ends = (write_end, read_end) if number == 0 else (read_end, write_end)
                self.mine[number], self.child[number] = ends
            elif wanted == DEVNULL:
                self.child[number] = _platform.open_null(self.opened)
            elif wanted == STDOUT:
                if number != 2:
                    raise ValueError("STDOUT can only be given for stderr: it means 'the same as stdout'")
                self.child[2] = self.child[1] if self.child[1] >= 0 else 1

    @staticmethod
    def _given(wanted: Any) -> int:
        given: int = wanted if isinstance(wanted, int) else wanted.fileno()
        if given < 0:
            raise ValueError(f"{wanted} is neither a file descriptor nor PIPE, STDOUT or DEVNULL")
        try:
            os.fstat(given)
        except OSError as problem:
            raise _platform.not_open(given, problem) from None
        return given


def _integer(name: str, value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    return value  # type: ignore[no-any-return]


def _encoded_environment(env: Mapping[Any, Any]) -> list[bytes]:
    lines = []
    for name, value in env.items():
        encoded = os.fsencode(name)
        if b"=" in encoded:
            raise ValueError(f"the environment variable name {name!r} contains '='")
        try:
            lines.append(encoded + b"=" + os.fsencode(value))
        except TypeError as problem:
            raise TypeError(f"the environment variable {name!r}: {problem}") from None
    return lines


def _descriptors(pass_fds: Any) -> tuple[int, ...]:
    try:
        return tuple(map(int, pass_fds))
    except (TypeError, ValueError) as problem:
        raise type(problem)(f"pass_fds must be a sequence of file descriptors, not {pass_fds!r}") from None


def _argument_list(args: Any, shell: bool, executable: Any) -> list[Any]:
    argv: list[Any]
    if type(args) is list:  # asked first because it is usual, and the other questions take longer
        argv = args[:]
    elif isinstance(args, (str, bytes)):
        argv = [args]
    elif isinstance(args, os.PathLike):
        if shell:
            raise TypeError("with shell=True, args is a command line for the shell, not a path")
        argv = [args]
    else:
        argv = list(args)
    if shell:
        argv = [executable or "/bin/sh", "-c", *argv]
    return argv


def _candidates(program: Any, env: Mapping[Any, Any] | None) -> list[bytes]:
    """Where the program may be, in the order in which to try."""
    global _last_searches
    if env is not None:
        if not hasattr(env, "items"):
            raise AttributeError(f"env must be a mapping of names to values, not a {type(env).__name__}")
        name = os.fsencode(program)
        return [name] if b"/" in name else _in_folders(map(os.fsencode, os.get_exec_path(env)), name)
    # As os.get_exec_path(), which takes longer than anything else here because it guards against warnings.
    try:
        path = os.environb[b"PATH"]
    except KeyError:
        path = _DEFAULT_PATH
    last_path, searches = _last_searches
    if type(program) is str:
        if path != last_path or len(searches) > _SEARCHES:
            _last_searches = path, searches = path, {}
        elif program in searches:
            return searches[program]
    name = os.fsencode(program)
    found = [name] if b"/" in name else _in_folders(dict.fromkeys(path.split(b":")), name)
    if type(program) is str:
        searches[program] = found
    return found


def _in_folders(folders: Iterable[bytes], name: bytes) -> list[bytes]:
    return [folder + b"/" + name if folder else name for folder in folders]


#: PATH, and where programs may be under it. Who starts many programs starts the same few, as a rule. Nobody changes the
#: lists.
_last_searches: tuple[bytes, dict[str, list[bytes]]] = b"", {}
_SEARCHES = 64


class Popen(Of["AnyStr"]):
    """Start a child process and talk to it.

    Returns when the child has become the program; what went wrong before is raised here (FileNotFoundError
    names the program, or the directory *cwd*). Parameters, attributes and methods are those of the standard
    class, and these: *mark_tree* puts a variable into the child's environment by which `kill_tree` finds also those
    descendants that have become daemons. *rlimits* (`{resource.RLIMIT_NOFILE: (64, 64)}`, or one number for both) and
    *nice*, which is added to our niceness, hold before the program begins, and are applied before the change of user.
    With *die_with_parent* the child gets SIGKILL when this process has ended, however it ended, but not when the thread
    that has started it has (Linux; not for set-user-ID programs). After *spawn_timeout* seconds a child that has not
    become the program yet, because a preexec_fn or a callback of `os.register_at_fork` hangs, is killed, and
    `TimeoutExpired` raised. These four make the child fork, where it would use vfork.

    What the child could not do before it became the program is raised with a `phase`: "exec", "chdir", "setpgid",
    "setgroups", "setgid", "setuid", "rlimits", "nice", "die_with_parent", "preexec_fn", "pass_fds", or "before exec" where
    the interpreter does not tell which.

    *startupinfo* and *creationflags* are for Windows, where *preexec_fn*, *start_new_session*, *process_group*, *pass_fds*,
    *umask* and identities of users are not; what a system has no way to do raises ValueError.

    Any thread may call any method; only `communicate` is for one thread at a time. Methods may be called from
    signal handlers. A forked copy of this process cannot wait for the child or signal it: there these methods
    raise RuntimeError.

    For type checkers it is a `Popen[str]` in text mode, otherwise a `Popen[bytes]`. It cannot be pickled.

    Differs from the standard class: timed waits sleep until the child ends rather than looking every now and
    then; a signal never reaches a process that inherited the number; after `kill`, `communicate` does not
    wait for processes that the child had started (see there).
    """

    # Until there is something else to say.
    stdin: IO[AnyStr] | None = None
    stdout: IO[AnyStr] | None = None
    stderr: IO[AnyStr] | None = None
    pid: int
    returncode: int | None = None
    _handle: ProcessHandle | None = None
    _exchange: Exchange | None = None
    _grace_given = False
    _mark: bytes | None = None
    _tree_ended = False  # whether kill_tree() has come to its end
    _is_known_to_one = False

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Popen[str], args: _options.Args, **options: Unpack[_options.PopenText]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str], args: _options.Args, **options: Unpack[_options.PopenEncoding]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str], args: _options.Args, **options: Unpack[_options.PopenErrors]
        ) -> None: ...
        @overload
        def __init__(self: Popen[str], args: _options.Args, **options: Unpack[_options.PopenOld]) -> None: ...
        @overload
        def __init__(
            self: Popen[bytes], args: _options.Args, **options: Unpack[_options.PopenBytes]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[Any], args: _options.Args, *more: Any, **options: Unpack[_options.PopenEither]
        ) -> None: ...

    def __init__(  # type: ignore[misc] # checkers miss *more, which has names here
        self,
        args: Any,
        bufsize: int | None = -1,
        executable: Any = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        preexec_fn: Callable[[], object] | None = None,
        close_fds: bool = True,
        shell: bool = False,
        cwd: Any = None,
        env: Mapping[Any, Any] | None = None,
        universal_newlines: bool | None = None,
        startupinfo: Any = None,
        creationflags: int = 0,
        restore_signals: bool = True,
        start_new_session: bool = False,
        pass_fds: Iterable[int] = (),
        *,
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        text: bool | None = None,
        umask: int = -1,
        pipesize: int | None = -1,
        process_group: int | None = None,
        mark_tree: bool = False,
        rlimits: Mapping[int, int | tuple[int, int]] | None = None,
        nice: int = 0,
        die_with_parent: bool = False,
        spawn_timeout: float | None = None,
    ) -> None:
        if abandoned or _platform.failed:
            package._cleanup()
        if bufsize is None:
            bufsize = -1
        elif type(bufsize) is not int:
            bufsize = _integer("bufsize", bufsize)
        if pipesize is None:
            pipesize = -1
        elif type(pipesize) is not int:
            pipesize = _integer("pipesize", pipesize)
        if (startupinfo is not None or creationflags != 0) and _platform.winapi is None:
            raise ValueError(
                "startupinfo and creationflags mean something on Windows only; leave them out here"
            )
        if text is not None and universal_newlines is not None and bool(universal_newlines) != bool(text):
            raise SubprocessError(
                "text and universal_newlines mean the same but were given different values; pass one"
            )

        self.args = args
        self.encoding, self.errors, self.pipesize = encoding, errors, pipesize
        self.text_mode = bool(encoding or errors or text or universal_newlines)
        if bufsize == 1 and not self.text_mode:
            import warnings

            warnings.warn(
                "line buffering (bufsize=1) needs text mode; using the default size",
                RuntimeWarning,
                level_of_the_caller(),
            )
            bufsize = -1
        if self.text_mode and not encoding and sys.flags.warn_default_encoding:
            self.encoding = _text_encoding(None, level_of_the_caller())

        if _platform.winapi is not None:
            from ._windows_start import WindowsStart, refuse

            refuse(
                preexec_fn=preexec_fn is not None,
                start_new_session=start_new_session,
                pass_fds=tuple(pass_fds),
            )
            refuse(process_group=process_group is not None, umask=umask >= 0)
            refuse(user=user is not None, group=group is not None, extra_groups=extra_groups is not None)
            refuse(rlimits=bool(rlimits), nice=bool(nice), die_with_parent=die_with_parent)
            refuse(spawn_timeout=spawn_timeout is not None)
            windows = WindowsStart()
            try:
                windows.plan((stdin, stdout, stderr))
                layered: list[Any] = [
                    one and self._layered(one, n, bufsize) for n, one in enumerate(windows.streams)
                ]
                flags = _integer("creationflags", creationflags)
                about = (args, executable, shell, cwd, env, startupinfo, flags, bool(close_fds), mark_tree)
                self._execute_child(windows, *about)
                self.stdin, self.stdout, self.stderr = layered
                windows.close()
            except BaseException:
                try:
                    windows.undo()
                finally:  # once more, should a signal handler have raised in there too
                    windows.undo()
                raise
            return
        leads_tree = False
        # What is left alone in a plain start has its default in StartRequest, and costs nothing here.
        request = _platform.StartRequest()
        if pass_fds:
            request.keep = _descriptors(pass_fds)
            if request.keep and not close_fds:
                import warnings

                warnings.warn("pass_fds overriding close_fds.", RuntimeWarning, level_of_the_caller())
                close_fds = True
        request.argv = argv = _argument_list(args, shell, executable)
        request.program = program = executable if executable is not None else argv[0]
        sys.audit("subprocess.Popen", program, argv, cwd, env)
        request.executables = _candidates(program, env)
        if cwd is not None:
            request.cwd = cwd
        if env is not None:
            request.env = _encoded_environment(env)
        if not close_fds:
            request.close_fds = False
        if mark_tree:
            from ._tree import can_search, marked

            request.env, self._mark = marked(request.env)
            if not can_search():
                if process_group is None and not start_new_session:
                    process_group = 0
                leads_tree = start_new_session or process_group == 0
        if not restore_signals:
            request.restore_signals = False
        if start_new_session:
            request.new_session = True
        if process_group is not None:
            request.pgid = _integer("process_group", process_group)
        if preexec_fn is not None:
            request.preexec_fn = preexec_fn
        if umask != -1:
            request.umask = _integer("umask", umask)
        if user is not None or group is not None or extra_groups is not None:
            from ._identity import resolve

            request.uid, request.gid, request.groups = resolve(user, group, extra_groups)
        if rlimits or nice or die_with_parent or spawn_timeout is not None:
            from ._limits import add_limits

            add_limits(request, rlimits, nice, die_with_parent, spawn_timeout)

        request.started, request.opened = [], []
        ends: _Ends | None = None
        raw: list[io.FileIO] = []
        key = id(request)
        try:
            _platform.in_flight[key] = request.opened
            if not stdin is stdout is stderr is None:
                ends = _Ends(request.opened)
                ends.plan(stdin, stdout, stderr)
                if pipesize > 0:
                    self._size_pipes(ends.mine, pipesize)
                request.stdin, request.stdout, request.stderr = ends.child
                # Before the start, so that a wrong encoding is found out before the program has done anything.
                if ends.mine != [-1, -1, -1]:
                    self._open_streams(ends, raw, bufsize, (stdin, stdout, stderr))
            self._execute_child(request)
            if leads_tree and self._handle is not None:
                self._handle.keeps_number = True
            _platform.finish(request)
            if ends is not None and stdin is not OWN_PIPE:
                _platform.feeding.pop(ends.mine[0], None)
        except BaseException:
            _platform.failed[key] = request  # whatever strikes from here on, the next start ends what is left
            try:
                self._undo_start(request, ends, raw)
            finally:  # once more, should a signal handler have raised in there too
                self._undo_start(request, ends, raw)
            raise

    def _execute_child(self, request: Any, *about: Any) -> None:
        """Start the child. A subclass may override this, as it may in the standard class; the arguments are our own."""
        if about:  # on Windows
            self._handle = handle = request.start(*about)
            self.pid = handle.pid
        else:
            self.pid = _platform.start(request)
            handle = request.handle
            if handle is None:
                handle = (
                    SoleHandle(self.pid, self._has_pipes)
                    if self._is_known_to_one
                    else handle_of_new_child(self.pid)
                )
            self._handle = handle

    def _undo_start(self, request: _platform.StartRequest, ends: _Ends | None, raw: list[io.FileIO]) -> None:
        self._handle = None
        for stream in raw:
            if not stream.closed:  # else the number may be somebody else's by now
                _platform.stop_feeding(stream.fileno(), stream)
        if request.call is None or not request.call.leave():  # else the lasting thread does it
            if ends is not None and ends.mine[0] in request.opened:
                _platform.feeding.pop(ends.mine[0], None)
            _platform.finish(request)
            _platform.end_unowned(request)
        _platform.failed.pop(id(request), None)

    @staticmethod
    def _size_pipes(fds: list[int], size: int) -> None:
        import fcntl

        command = getattr(fcntl, "F_SETPIPE_SZ", None)
        for fd in fds:
            if fd >= 0 and command is not None:
                fcntl.fcntl(fd, command, size)

    def _open_streams(
        self, ends: _Ends, raw: list[io.FileIO], bufsize: int, wanted: tuple[Any, Any, Any]
    ) -> None:
        streams: list[Any] = [None, None, None]
        opened = ends.opened
        for number, fd in enumerate(ends.mine):
            if fd < 0:
                continue
            if number == 0:
                _platform.start_feeding(fd)
            # One call takes the descriptor out of one list and puts its stream into the other.
            raw.extend(map(io.FileIO, map(opened.pop, map(opened.index, (fd,))), "r" if number else "w"))
            # Whoever only communicates needs no buffer.
            buffered = self.text_mode or wanted[number] is not OWN_PIPE
            streams[number] = self._layered(raw[-1], number, bufsize if buffered else 0)
        self.stdin, self.stdout, self.stderr = streams

    def _layered(self, raw: io.FileIO, number: int, bufsize: int) -> Any:
        """What the caller gets for our end of pipe *number*: with a buffer, for bytes or for text."""
        stream: Any = raw
        size = io.DEFAULT_BUFFER_SIZE if bufsize < 0 or bufsize == 1 else bufsize
        if size:
            stream = io.BufferedReader(stream, size) if number else io.BufferedWriter(stream, size)
        if self.text_mode:
            stream = io.TextIOWrapper(
                stream,
                self.encoding,
                self.errors,
                line_buffering=bufsize == 1,
                write_through=number == 0,
            )
        return stream

    def __repr__(self) -> str:
        shown = f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"
        return shown if len(shown) <= _LONGEST_REPR else f"{shown[: _LONGEST_REPR - 4]}...>"

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {self!r}: only this process can wait for its child")

    @property
    def handle(self) -> ProcessHandle:
        """The `ProcessHandle` of the child. The standard class has none."""
        if self._handle is None:
            raise ValueError(f"{self!r} was never started")
        return self._handle

    @property
    def universal_newlines(self) -> bool:
        """The older name of `text_mode`."""
        return self.text_mode

    @universal_newlines.setter
    def universal_newlines(self, value: bool) -> None:
        self.text_mode = bool(value)

    # -- the child's end -------------------------------------------------------------------------------------

    def poll(self) -> int | None:
        """Look whether the child has ended, without blocking; its return code, or None."""
        if self.returncode is None and self._handle is not None:
            self.returncode = self._handle.poll()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the child has ended and return its code; raise `TimeoutExpired` after *timeout*
        seconds.

        Any number of threads may wait. A child that writes to a PIPE which nobody reads will not end: use
        `communicate`. On KeyboardInterrupt the child, which the terminal interrupted as well, has a quarter
        of a second to end, once.

        Differs from the standard method: the thread sleeps until the child ends (pidfd) instead of looking at
        it periodically, and any *timeout* will do, `inf` included.
        """
        if self.returncode is not None:
            return self.returncode
        try:
            return self._wait(timeout=timeout)
        except KeyboardInterrupt:
            self._give_grace(timeout)
            raise

    def _wait(self, timeout: float | None) -> int:
        """`wait`, but for what that does on KeyboardInterrupt. A subclass may override this, as in the standard class."""
        handle = self._handle
        assert handle is not None
        self.returncode = code = handle.ended_within(timeout)
        if code is None:
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout)
        return code

    async def await_exit(self, timeout: float | None = None) -> int:
        """`wait` for coroutines of asyncio, on any loop that can watch descriptors.

        Any number of tasks may wait; cancelling one does nothing to the child. The standard class has no such
        method.
        """
        if self.returncode is None:
            from ._async import await_end

            code = await await_end(self.handle, timeout)
            if code is None:
                assert timeout is not None
                raise TimeoutExpired(self.args, timeout)
            self.returncode = code
        return self.returncode

    def _give_grace(self, timeout: float | None = None) -> None:
        """After Ctrl-C: the child got it as well and may be about to end. After kill() it certainly is."""
        if self._handle is None or (self._grace_given and not self._handle.kill_sent):
            return
        self._grace_given = True
        # If it is too short, the caller decides what becomes of it.
        grace = _INTERRUPT_GRACE if timeout is None else min(timeout, _INTERRUPT_GRACE)
        if self._handle.kill_sent:
            self.returncode = self._handle.ended_within(grace)
            return
        try:
            self._wait(timeout=grace)
        except TimeoutExpired as late:
            if late.cmd is not self.args:
                raise  # out of a signal handler, about some other command

    def send_signal(self, sig: int) -> None:
        """Send signal *sig* to the child, never to another process with its pid; do nothing if it has ended."""
        if self._handle is not None:
            self._handle.send_signal(sig)
            if self.returncode is None:
                self.returncode = self._handle.returncode

    def terminate(self) -> None:
        """Ask the child to end (SIGTERM)."""
        self.send_signal(15)

    def kill(self) -> None:
        """End the child (SIGKILL). Processes that it had started live on."""
        self.send_signal(9)

    def kill_tree(self, *, grace: float = 0.0) -> None:
        """End the child and everything that it has started; return when all of it is gone.

        With *grace* all of them are asked first (SIGTERM) and have that many seconds. On Linux the tree is found
        by /proc, whatever groups or sessions its processes are in; those whose own parents have ended are found if
        the child was started with `mark_tree=True`, as `run(kill_tree=True)` does it. On other systems the process
        group is ended, if the child leads one. May be called after the child has ended, and again. Raises
        PermissionError, when all others are gone, for processes of another user; OSError, with the child killed, if no
        descriptor is left to look for the others with. On Windows the tree is a job
        object, which the child is in if it was started with `mark_tree=True`; ValueError if it was not.

        The standard class has no such method.
        """
        if grace != 0:
            check_grace(grace)
        if self._handle is None:
            return
        if not self._handle.is_own_child:
            raise RuntimeError(f"{self!r} was started by the process that this one was forked from")
        try:
            if _platform.winapi is not None:
                from ._windows_handle import end_tree as end_job

                end_job(self._handle, grace)
            else:
                from ._tree import end_tree

                end_tree(self._handle, self._mark, grace)
            self._tree_ended = True
        except PermissionError:
            self._tree_ended = True  # as far as we may
            self._handle.send_signal(9)
            raise
        except BaseException:
            self._handle.send_signal(9)  # the child at least, whatever has kept us from finding the others
            raise
        finally:
            self.poll()

    def _ask_tree(self) -> Any:
        """Send SIGTERM to all of the tree; it, with its `living()`. None where only the group can be signalled, or a job."""
        if _platform.winapi is not None:
            return None
        from ._tree import ask_tree

        return ask_tree(self.handle, self._mark)

    # -- its input and output --------------------------------------------------------------------------------

    def communicate(
        self,
        input: Any = None,  # noqa: A002
        timeout: float | None = None,
        *,
        on_stdout: Callable[[Any], object] | None = None,
        on_stderr: Callable[[Any], object] | None = None,
        max_output: int | None = None,
    ) -> tuple[Any, Any]:
        """Write *input*, read stdout and stderr to their ends, wait for the child; return what was read.

        What is not a PIPE gives None. *input* is `str` in text mode, otherwise any bytes-like object. A child
        that stops reading its input is no error. An output that the caller has closed gives nothing
        (`b''`, or `''`); but ValueError if it is the only pipe and there is no *timeout*, as in the standard class.
        Raises `TimeoutExpired` after *timeout* seconds with the
        output so far; the child runs on, and a further call, without *input*, continues and loses nothing.

        *on_stdout* and *on_stderr* are called, in this thread, with each line as it comes, its line end included; a
        line of more than a mebibyte comes in pieces. What they raise leaves this call. A stream that is longer than
        *max_output* bytes raises `OutputTooLarge`; the child runs on then too, and further calls drop the excess.
        All three count in the first call only; the standard method has none of them.

        Differs from the standard method: after `kill` the pipes are read for at most a quarter of a second
        beyond the child's end, should a process that the child had started still hold them; then they are
        closed, and what had come is returned. The time-out carries `str` in text mode. What was left in the
        buffer of a binary stream by an earlier read is part of the result. If the caller has replaced `stdin`, its own
        methods are used for text and where it has no descriptor; these may block for longer than *timeout*.
        """
        if self._exchange is not None and input:
            raise ValueError(
                "cannot send input after communication has started: the first call's input is still used"
            )
        listening = None
        if on_stdout is not None or on_stderr is not None or max_output is not None:
            listening = Listening(on_stdout, on_stderr, max_output)
        if self.stdin is self.stdout is self.stderr is None:
            self.wait(timeout)
            return None, None
        return self._talk(input, timeout, listening)

    def _talk(self, given: Any, timeout: float | None, listening: Listening | None) -> tuple[Any, Any]:
        deadline = None if timeout is None else deadline_after(timeout)
        try:
            return self._communicate(given, timeout, deadline, listening)
        except KeyboardInterrupt:
            self._give_grace(timeout)
            raise

    def lines(self, input: Any = None, timeout: float | None = None) -> Iterator[tuple[str, AnyStr]]:  # noqa: A002
        """Iterate over the lines of both outputs as they come: `("stdout", line)` or `("stderr", line)`.

        Feeds *input* to the child meanwhile, and keeps nothing of what it has yielded. Ends when both outputs
        have. Raises `TimeoutExpired`, *timeout* seconds after the first step. It is a way to communicate(), so
        it comes instead of that. The child is not waited for. The standard class has no such method.
        """
        if self._exchange is not None:
            raise ValueError("communication has started already; lines() comes instead of communicate()")
        deadline = None if timeout is None else deadline_after(timeout)
        come: list[tuple[str, Any]] = []
        listening = Listening(
            lambda line: come.append(("stdout", line)),
            lambda line: come.append(("stderr", line)),
            keep=(False, False),
        )
        exchange, handle = self._start_exchange(input, listening), self.handle
        done = False
        while not done:
            done = exchange.pump(deadline, handle, come)
            if not done and not come and timeout is not None:
                raise TimeoutExpired(self.args, timeout)
            yield from come
            come.clear()

    def _start_exchange(self, given: Any, listening: Listening | None = None) -> Exchange:
        streams = (self.stdout, self.stderr)
        stdin: Any = self.stdin
        if stdin is None or is_ours(stdin, self.text_mode):
            data = self._input_bytes(given)
        else:
            stdin, data = feed(stdin, given)
        if listening is None:
            exchange = open_exchange(stdin, streams, data)
        else:
            exchange = open_exchange(stdin, streams, data, listening.max_output)
            for stream, tell, keep in zip(streams, listening.tell, listening.keep, strict=True):
                if stream is None:
                    continue
                feeder = None
                if tell is not None:
                    about: Any = stream if self.text_mode else None
                    feeder = LineFeeder(tell, about and about.encoding, about and about.errors)
                exchange.listen(stream, feeder, keep)
        self._exchange = exchange
        return exchange

    def _communicate(
        self,
        given: Any,
        timeout: float | None,
        deadline: float | None,
        listening: Listening | None = None,
    ) -> tuple[Any, Any]:
        streams = (self.stdout, self.stderr)
        handle = self._handle
        assert handle is not None
        exchange = self._exchange
        # Nobody can kill such a child while this thread reads: its end of file is all that there is to wait for.
        undisturbed = self._is_known_to_one and exchange is None and timeout is None and listening is None
        if exchange is None:
            if self.stdin is self.stdout is self.stderr is None:
                self.wait(timeout)
                return None, None
            if undisturbed and self.stdin is None:
                outputs = [stream for stream in streams if stream is not None]
                said: list[list[bytes]] = [[] for _ in outputs]
                if read_little(outputs, said):
                    self.wait()
                    whole = [b"".join(pieces) for pieces in said]
                    if not self.text_mode:
                        told: list[Any] = list(whole)
                    else:
                        told = [self._decoded(one, s, True) for one, s in zip(whole, outputs, strict=True)]
                    first = None if self.stdout is None else told[0]
                    return first, None if self.stderr is None else told[-1]
                exchange = self._start_exchange(None)
                for stream, pieces in zip(outputs, said, strict=True):
                    exchange.begin_with(stream, pieces)
            else:
                if timeout is None:
                    self._refuse_a_closed_one(given)
                exchange = self._start_exchange(given, listening)
        try:
            done = exchange.pump(deadline, None if undisturbed else handle)
        except LimitReached:
            raise OutputTooLarge(self.args, exchange.limit or 0, *self._output_so_far()) from None
        if done:
            try:
                self.wait(None if deadline is None else max(deadline - monotonic(), 0.0))
            except TimeoutExpired as late:
                if late.cmd is not self.args:
                    raise  # out of a signal handler, about some other command
                done = False
        if not done:
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout, *self._output_so_far())
        out, err = (self._as_promised(stream, not handle.kill_sent) for stream in streams)
        return out, err

    def _refuse_a_closed_one(self, given: Any) -> None:
        """Raise if there is one pipe only, and nothing to be had from it: then the standard class goes straight to it."""
        name, *others = [name for name in ("stdin", "stdout", "stderr") if getattr(self, name) is not None]
        if not others and (given or name != "stdin") and getattr(getattr(self, name), "closed", 0) is True:
            what = "write to" if name == "stdin" else "read of"
            raise ValueError(f"{what} closed file: {name} of {self!r} was closed before communicate()")

    def _output_so_far(self) -> list[Any]:
        """What communicate() has read until now, in terms that fit a TimeoutExpired: no byte can make this fail."""
        outputs = []
        for stream in (self.stdout, self.stderr):
            try:
                outputs.append(self._as_promised(stream, False))
            except UnicodeError:
                outputs.append(self._as_promised(stream, False, "replace"))
        return outputs

    def _input_bytes(self, given: Any) -> memoryview | None:
        if given is None or self.stdin is None:
            return None
        if self.text_mode:
            if not isinstance(given, str):
                raise TypeError(f"in text mode the input is a str, not {type(given).__name__}")
            stdin: Any = self.stdin
            given = given.encode(stdin.encoding, stdin.errors)
        view = memoryview(given)
        return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())

    def _as_promised(self, stream: Any, complete: bool, errors: str | None = None) -> Any:
        data = None if self._exchange is None else self._exchange.output_of(stream)
        return data if data is None else self._decoded(data, stream, complete, errors)

    def _decoded(self, data: bytes, stream: Any, complete: bool, errors: str | None = None) -> Any:
        if not self.text_mode:
            return data
        if complete:
            text = data.decode(stream.encoding, stream.errors)
        else:
            # A character may have come by half.
            text = incremental_decoder(stream.encoding, errors or stream.errors).decode(data)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    # -- with, and the end of this object --------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pipes, then wait for the child. After Ctrl-C it is not waited for beyond its moment of grace, and not
        at all if a signal handler raises while the pipes are closed.
        """
        refusal: OSError | None = None
        try:
            self._close_streams()
        except (BrokenPipeError, BlockingIOError) as unwanted:
            refusal = unwanted  # what stood in the buffer for it: the child may end all the same
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self._give_grace()
        elif self.returncode is None:
            self.wait()
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal  # or it and this frame would keep each other

    def _close_streams(self) -> None:
        """Close our ends of the pipes, all of them, whatever happens to one."""
        try:
            if self.stdout is not None:
                self.stdout.close()
        finally:
            try:
                if self.stderr is not None:
                    self.stderr.close()
            finally:
                if self.stdin is not None:
                    self.stdin.close()

    @property
    def _has_pipes(self) -> bool:
        return not self.stdin is self.stdout is self.stderr is None

    def __del__(self) -> None:
        if self.returncode is not None:
            return
        handle = self._handle
        if handle is None or handle.returncode is not None:
            return
        # First of all, whatever a signal handler raises in here: the next start looks after it. On Windows there are no
        # zombies. (And before the warning, which may be an error in this program, or take its time.)
        if _platform.winapi is None:
            abandoned.append(handle)
        if handle.is_own_child and handle.poll() is None:
            try:
                import warnings
            except ImportError:
                return  # the interpreter is shutting down, and imports nothing any more
            warnings.warn(
                f"subprocess {self.pid} is still running", ResourceWarning, source=self, stacklevel=2
            )


class SolePopen(Popen["Any"]):
    """A Popen that nobody but the thread that makes it will ever know of, and that is waited for without a time limit."""

    _is_known_to_one = True
