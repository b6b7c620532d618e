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
import sys

from . import _start
from ._command import argument_list, candidates, descriptors, encoded_environment, integer
from ._conversation import Conversation
from ._ending import check_grace
from ._ends import OWN_PIPE, Ends, layered, size_pipes
from ._handle import ProcessHandle, handle_of_new_child
from ._in_flight import feeding, in_flight, stop_feeding
from ._platform import winapi
from ._results import SubprocessError, TimeoutExpired
from ._start import StartRequest, end_unowned, failed, finish
from ._switches import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import (
        Any,
        AnyStr,  # noqa: F401 - named in a string below
        overload,
    )

    from typing_extensions import Self, Unpack

    from . import _options

__all__ = ["Popen", "abandoned", "reap_abandoned"]

#: After Ctrl-C the child, which the terminal has interrupted too, gets this long to end before we go on.
_INTERRUPT_GRACE = 0.25

_LONGEST_REPR = 80

_text_encoding: Any = getattr(io, "text_encoding", None)

abandoned: list[ProcessHandle] = []


def reap_abandoned() -> None:
    """Look once at each child that no Popen stands for any more, and forget those that have ended."""
    for key, request in tuple(failed.items()):
        # Left by a clean-up that was cut short, or on its way out in another thread; handles do not get in its way.
        if request.call is None or not request.call.leave():  # else the lasting thread does it
            for pid in tuple(request.started):
                if pid <= 0:
                    continue  # what stands in for fork_exec has started none; the number would mean many others
                handle = request.handle or handle_of_new_child(pid)
                try:
                    handle.send_signal(9)
                except PermissionError:
                    pass  # a program of another user: whoever starts something now has nothing to do with that
                abandoned.append(handle)
            request.started.clear()
            finish(request)
        failed.pop(key, None)
    for handle in tuple(abandoned):
        if not handle.is_own_child or handle.poll() is not None:
            try:
                abandoned.remove(handle)
            except ValueError:
                pass  # another thread was faster


class Popen(Conversation["AnyStr"]):
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

    pid: int
    returncode: int | Any = None  # until there is something else to say
    _grace_given = False
    _mark: bytes | None = None
    _tree_ended = False  # whether kill_tree() has come to its end

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
        if abandoned or failed:
            package._cleanup()
        if bufsize is None:
            bufsize = -1
        elif type(bufsize) is not int:
            bufsize = integer("bufsize", bufsize)
        if pipesize is None:
            pipesize = -1
        elif type(pipesize) is not int:
            pipesize = integer("pipesize", pipesize)
        if (startupinfo is not None or creationflags != 0) and winapi is None:
            raise ValueError(
                "startupinfo and creationflags mean something on Windows only; leave them out here"
            )
        if text is not None and universal_newlines is not None and bool(universal_newlines) != bool(text):
            raise SubprocessError(
                "text and universal_newlines mean the same but were given different values; pass one"
            )

        self.args = args
        if type(self).returncode is not None:  # a subclass has made something else of it
            self.returncode = None
        self.encoding, self.errors, self.pipesize = encoding, errors, pipesize
        self.text_mode = bool(encoding or errors or text or universal_newlines)
        if bufsize == 1 and not self.text_mode:
            import warnings

            from ._callers import level_of_the_caller

            warnings.warn(
                "line buffering (bufsize=1) needs text mode; using the default size",
                RuntimeWarning,
                level_of_the_caller(),
            )
            bufsize = -1
        if self.text_mode and not encoding and sys.flags.warn_default_encoding:
            from ._callers import level_of_the_caller

            self.encoding = _text_encoding(None, level_of_the_caller())

        if winapi is not None:
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
                text_of_it = (self.encoding, self.errors) if self.text_mode else None
                streams: list[Any] = [
                    one and layered(one, n, bufsize, text_of_it) for n, one in enumerate(windows.streams)
                ]
                flags = integer("creationflags", creationflags)
                about = (args, executable, shell, cwd, env, startupinfo, flags, bool(close_fds), mark_tree)
                self._execute_child(windows, *about)
                self.stdin, self.stdout, self.stderr = streams
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
        request = StartRequest()
        if pass_fds:
            request.keep = descriptors(pass_fds)
            if request.keep and not close_fds:
                import warnings

                from ._callers import level_of_the_caller

                warnings.warn("pass_fds overriding close_fds.", RuntimeWarning, level_of_the_caller())
                close_fds = True
        request.argv = argv = argument_list(args, shell, executable)
        request.program = program = executable if executable is not None else argv[0]
        sys.audit("subprocess.Popen", program, argv, cwd, env)
        request.executables = candidates(program, env)
        if cwd is not None:
            request.cwd = cwd
        if env is not None:
            request.env = encoded_environment(env)
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
            request.pgid = integer("process_group", process_group)
        if preexec_fn is not None:
            request.preexec_fn = preexec_fn
        if umask != -1:
            request.umask = integer("umask", umask)
        if user is not None or group is not None or extra_groups is not None:
            from ._identity import resolve

            request.uid, request.gid, request.groups = resolve(user, group, extra_groups)
        if rlimits or nice or die_with_parent or spawn_timeout is not None:
            from ._limits import add_limits

            add_limits(request, rlimits, nice, die_with_parent, spawn_timeout, args)

        request.started, request.opened = [], []
        ends: Ends | None = None
        raw: list[io.FileIO] = []
        key = id(request)
        try:
            in_flight[key] = request.opened
            if not stdin is stdout is stderr is None:
                ends = Ends(request.opened)
                ends.plan(stdin, stdout, stderr)
                if pipesize > 0:
                    size_pipes(ends.mine, pipesize)
                request.stdin, request.stdout, request.stderr = ends.child
                # Before the start, so that a wrong encoding is found out before the program has done anything.
                if ends.mine != [-1, -1, -1]:
                    text_of_it = (self.encoding, self.errors) if self.text_mode else None
                    streams = ends.streams(raw, bufsize, (stdin, stdout, stderr), text_of_it)
                    self.stdin, self.stdout, self.stderr = streams
            self._execute_child(request)
            if leads_tree and self._handle is not None:
                self._handle.keeps_number = True
            finish(request)
            if ends is not None and stdin is not OWN_PIPE:
                feeding.pop(ends.mine[0], None)
        except BaseException:
            failed[key] = request  # whatever strikes from here on, the next start ends what is left
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
            self.pid = _start.start(request)
            handle = request.handle
            self._handle = handle_of_new_child(self.pid) if handle is None else handle

    def _undo_start(self, request: StartRequest, ends: Ends | None, raw: list[io.FileIO]) -> None:
        self._handle = None
        for stream in raw:
            if not stream.closed:  # else the number may be somebody else's by now
                stop_feeding(stream.fileno(), stream)
        if request.call is None or not request.call.leave():  # else the lasting thread does it
            if ends is not None and ends.mine[0] in request.opened:
                feeding.pop(ends.mine[0], None)
            finish(request)
            end_unowned(request)
        failed.pop(id(request), None)

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
        # Only what is not None is ever stored: another thread may have seen the end meanwhile.
        if self.returncode is None and self._handle is not None and (code := self._handle.poll()) is not None:
            self.returncode = code
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
        code = handle.ended_within(timeout)
        if code is None:
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout)
        self.returncode = code
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
            if (code := self._handle.ended_within(grace)) is not None:
                self.returncode = code
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
            if self.returncode is None and (code := self._handle.returncode) is not None:
                self.returncode = code

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
            if winapi is not None:
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
        if winapi is not None:
            return None
        from ._tree import ask_tree

        return ask_tree(self.handle, self._mark)

    # -- its input and output --------------------------------------------------------------------------------

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

    def __del__(self) -> None:
        if self.returncode is not None:
            return
        handle = self._handle
        if handle is None or handle.returncode is not None:
            return
        # First of all, whatever a signal handler raises in here: the next start looks after it. On Windows there are no
        # zombies. (And before the warning, which may be an error in this program, or take its time.)
        if winapi is None:
            abandoned.append(handle)
        if handle.is_own_child and handle.poll() is None:
            try:
                import warnings
            except ImportError:
                return  # the interpreter is shutting down, and imports nothing any more
            warnings.warn(
                f"subprocess {self.pid} is still running", ResourceWarning, source=self, stacklevel=2
            )
