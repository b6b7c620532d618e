# SPDX-License-Identifier: MIT
"""One call, one child: start it, feed it, wait for it."""

from __future__ import annotations

from ._alone import COMMUNICATE, SolePopen, can_be_heard, hear_plainly, is_plain, run_plainly
from ._ending import check_grace, let_go, wind_up
from ._ends import OWN_PIPE, PIPE
from ._handle import deadline_after
from ._popen import Popen
from ._results import CalledProcessError, CompletedProcess
from ._switches import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, overload

    from typing_extensions import Unpack

    from . import _options
    from ._lines import Listening

__all__ = ["call", "check_call", "check_output", "replaced_popen", "run", "streams_for"]


if TYPE_CHECKING:

    @overload
    def run(args: _options.Args, **options: Unpack[_options.RunText]) -> CompletedProcess[str]: ...
    @overload
    def run(args: _options.Args, **options: Unpack[_options.RunEncoding]) -> CompletedProcess[str]: ...
    @overload
    def run(args: _options.Args, **options: Unpack[_options.RunErrors]) -> CompletedProcess[str]: ...
    @overload
    def run(args: _options.Args, **options: Unpack[_options.RunOld]) -> CompletedProcess[str]: ...
    @overload
    def run(args: _options.Args, **options: Unpack[_options.RunBytes]) -> CompletedProcess[bytes]: ...
    @overload
    def run(
        args: _options.Args, *more: Any, **options: Unpack[_options.RunEither]
    ) -> CompletedProcess[Any]: ...


def run(
    *popenargs: Any,
    input: Any = None,  # noqa: A002
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    kill_tree: bool = False,
    grace: float = 0.0,
    on_stdout: Callable[[Any], object] | None = None,
    on_stderr: Callable[[Any], object] | None = None,
    max_output: int | None = None,
    **kwargs: Any,
) -> CompletedProcess[Any]:
    """Run a command to its end and return a `CompletedProcess`. Further arguments are those of `Popen`.

    *input* is written to the command's standard input; *capture_output* collects stdout and stderr. With
    *check* a status other than 0 raises `CalledProcessError`. After *timeout* seconds the child is killed and
    `TimeoutExpired` raised; any other exception, such as KeyboardInterrupt, kills it too. When `run` has
    returned or raised, the child is gone; one that this process may not kill (a set-user-ID program) runs on, and the
    refusal is the `__cause__` of what is raised.

    *kill_tree* extends that to all that the command has started: after a time-out or any other exception none of
    it is left (see `Popen.kill_tree`). With *grace*, for the command alone or for all of them, SIGTERM comes first, and
    that many seconds,
    in which the outputs are still read. *on_stdout* and
    *on_stderr* are called with each line as it comes; they need no pipe to be asked for, and without
    one the output is not kept. A callback holds up the command, and the time limit, as long as it runs; lines for which
    no time is left are not told, a quarter of a second after the limit. What one raises after that is the `__cause__`
    of the `TimeoutExpired`. A captured output of more than *max_output*
    bytes raises `OutputTooLarge`.
    The standard function has none of these five.

    Differs from the standard function: after a time-out it returns within a fraction of a second even if a
    process that the command has started holds on to the pipes, and the exception has the output up to then. A command
    that has ended when its time is looked at was in time: `timeout=0`, or less, may well return a result.
    """
    kind = package.Popen
    if (
        kind is Popen
        and timeout is None
        and input is None
        and on_stdout is on_stderr is None
        and max_output is None
        and not kill_tree
        and grace == 0
    ):
        stdout = stderr = returncode = None
        if capture_output or "stdout" in kwargs:
            if can_be_heard(popenargs, kwargs, capture_output):
                returncode, stdout, stderr = hear_plainly(popenargs[0], capture_output, **kwargs)
        elif is_plain(popenargs, kwargs):
            returncode = run_plainly(*popenargs, **kwargs)
        if returncode is not None:
            if check and returncode:
                raise CalledProcessError(returncode, popenargs[0], output=stdout, stderr=stderr)
            return CompletedProcess(popenargs[0], returncode, stdout, stderr)
    listening = streams_for(kwargs, input, capture_output, on_stdout, on_stderr, max_output)
    if timeout is not None:
        deadline_after(timeout)  # what is wrong is told before anything is started
    if grace != 0:
        check_grace(grace)
    if kill_tree:
        kwargs["mark_tree"] = True
    if kind is Popen:
        if timeout is None and listening is None and not kill_tree:
            kind = SolePopen
    elif not _can_be_made_in_steps(kind) or _enters_itself(kind):
        stand_in, ((stdout, stderr), returncode) = _with_stand_in(
            kind(*popenargs, **kwargs),
            lambda it: (
                it.communicate(input, timeout=timeout)
                if listening is None
                else _talker(it)(input, timeout, listening),
                _code_of(it),
            ),
            kill_tree,
            grace,
        )
        return _completed(check, returncode, stand_in.args, stdout, stderr)
    process: Any = object.__new__(kind)  # see _ending.py
    try:
        process.__init__(*popenargs, **kwargs)
        if listening is not None:
            stdout, stderr = process._talk(input, timeout, listening)
        elif kind is SolePopen and not process._has_pipes and Popen.communicate is COMMUNICATE:
            stdout = stderr = None
            process.wait(timeout)
        else:
            stdout, stderr = process.communicate(input, timeout=timeout)
        returncode = process.poll()
        if returncode is None:
            returncode = process.wait()
        if kill_tree and check and returncode:
            raise CalledProcessError(returncode, process.args, output=stdout, stderr=stderr)
    except BaseException as problem:
        try:
            wind_up(process, problem, kill_tree, grace)
        finally:
            let_go(process, kill_tree)
        raise
    return _completed(check, returncode, process.args, stdout, stderr)


def _completed(check: bool, returncode: int, args: Any, stdout: Any, stderr: Any) -> CompletedProcess[Any]:
    if check and returncode:
        raise CalledProcessError(returncode, args, output=stdout, stderr=stderr)
    return CompletedProcess(args, returncode, stdout, stderr)


def _can_be_made_in_steps(kind: Any) -> bool:
    """Whether what somebody has put in the place of Popen is one, too; else only the public methods can be relied on."""
    return isinstance(kind, type) and issubclass(kind, Popen) and kind.__new__ is object.__new__


def replaced_popen() -> type[Popen[Any]]:
    """Popen, or what somebody has put in its place, for those who need more of it than its public methods."""
    kind = package.Popen
    if not _can_be_made_in_steps(kind):
        raise TypeError(
            f"what was put in the place of Popen has to be a subclass of it here, which {kind!r} is not; "
            "or replace the function that was called, as well"
        )
    return kind  # type: ignore[no-any-return]


def _enters_itself(kind: type[Popen[Any]]) -> bool:
    """Whether a subclass has a `with` statement of its own."""
    return kind.__enter__ is not Popen.__enter__ or kind.__exit__ is not Popen.__exit__


def _talker(stand_in: Any) -> Any:
    try:
        return stand_in._talk
    except AttributeError:
        raise TypeError(
            f"on_stdout, on_stderr and max_output need a Popen of this package, or of a subclass; {stand_in!r}, which "
            "was put in its place, is none: leave them out, or replace the function that was called, as well"
        ) from None


def _with_stand_in(process: Any, use: Callable[[Any], Any], kill_tree: bool, grace: float) -> tuple[Any, Any]:
    """Use, and leave, what was put in the place of a Popen: the object, and what *use* returned."""
    with process as entered:
        try:
            if kill_tree and not hasattr(entered, "kill_tree"):
                raise TypeError(
                    f"kill_tree needs a method of that name, which {entered!r}, put in the place of a Popen, has not"
                )
            result = use(entered)
        except BaseException:
            try:
                if kill_tree and hasattr(entered, "kill_tree"):
                    entered.kill_tree(grace=grace)
            finally:
                entered.kill()
            raise
    return entered, result


def _code_of(stand_in: Any) -> Any:
    code = stand_in.poll()
    return stand_in.wait() if code is None else code


def streams_for(
    kwargs: dict[str, Any],
    given: Any,
    capture_output: bool,
    on_stdout: Callable[[Any], object] | None,
    on_stderr: Callable[[Any], object] | None,
    max_output: int | None,
) -> Listening | None:
    """Write into *kwargs*, for Popen, the pipes that are needed; what is to be done with the outputs, if it matters."""
    if given is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("pass either input or stdin: input needs a pipe of its own")
        kwargs["stdin"] = PIPE
    if kwargs:  # most commands are run without
        for name in ("stdin", "stdout", "stderr"):
            if kwargs.get(name) == PIPE:
                kwargs[name] = OWN_PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError(
                "capture_output sets stdout and stderr: leave them out, or leave capture_output out"
            )
        kwargs["stdout"] = kwargs["stderr"] = OWN_PIPE
    if on_stdout is None and on_stderr is None and max_output is None:
        return None
    return _listening(on_stdout, on_stderr, max_output, kwargs)


def _listening(
    on_stdout: Callable[[Any], object] | None,
    on_stderr: Callable[[Any], object] | None,
    max_output: int | None,
    kwargs: dict[str, Any],
) -> Listening:
    """What is to be done with the outputs; pipes for those that are listened to are added to *kwargs*."""
    from ._lines import Listening

    keep = (kwargs.get("stdout") == PIPE, kwargs.get("stderr") == PIPE)
    for name, callback in (("stdout", on_stdout), ("stderr", on_stderr)):
        if callback is not None and kwargs.get(name) not in (None, PIPE):
            raise ValueError(f"on_{name} needs a pipe: leave {name} out, or make it PIPE")
        if callback is not None:
            kwargs[name] = PIPE
    return Listening(on_stdout, on_stderr, max_output, keep)


def call(
    *popenargs: Any, timeout: float | None = None, kill_tree: bool = False, grace: float = 0.0, **kwargs: Any
) -> int:
    """Run a command to its end and return its code. Give it no PIPE: nobody would read it.

    After *timeout* seconds, and on any other exception, the child is killed; *kill_tree* and *grace* are those of
    `run`, and not in the standard function.
    """
    if timeout is not None:
        deadline_after(timeout)
    if grace != 0:
        check_grace(grace)
    if kill_tree:
        kwargs["mark_tree"] = True
    kind = package.Popen
    if kind is Popen:
        if timeout is None and not kill_tree:
            if is_plain(popenargs, kwargs):
                return run_plainly(*popenargs, **kwargs)
            kind = SolePopen
    elif not _can_be_made_in_steps(kind) or _enters_itself(kind):
        stand_in = kind(*popenargs, **kwargs)
        # What wait() says, and nothing else is asked: tests give their objects no more than that.
        return _with_stand_in(stand_in, lambda it: it.wait(timeout=timeout), kill_tree, grace)[1]  # type: ignore[no-any-return]
    process: Any = object.__new__(kind)  # see _ending.py
    try:
        process.__init__(*popenargs, **kwargs)
        returncode: int = process.wait(timeout=timeout)
        process._close_streams()
    except BaseException as problem:
        try:
            wind_up(process, problem, kill_tree, grace)
        finally:
            let_go(process, kill_tree)
        raise
    return returncode


def check_call(*popenargs: Any, **kwargs: Any) -> int:
    """Like `call`, with the same arguments, but a status other than 0 raises `CalledProcessError`.

    With *kill_tree* nothing that the command has started is left then.
    """
    if kwargs.get("kill_tree"):
        package.run(*popenargs, check=True, **kwargs)
        return 0
    returncode: int = package.call(*popenargs, **kwargs)
    if returncode:
        raise CalledProcessError(returncode, kwargs.get("args", popenargs[0] if popenargs else None))
    return 0


if TYPE_CHECKING:

    @overload
    def check_output(args: _options.Args, **options: Unpack[_options.OutputText]) -> str: ...
    @overload
    def check_output(args: _options.Args, **options: Unpack[_options.OutputEncoding]) -> str: ...
    @overload
    def check_output(args: _options.Args, **options: Unpack[_options.OutputErrors]) -> str: ...
    @overload
    def check_output(args: _options.Args, **options: Unpack[_options.OutputOld]) -> str: ...
    @overload
    def check_output(args: _options.Args, **options: Unpack[_options.OutputBytes]) -> bytes: ...
    @overload
    def check_output(args: _options.Args, *more: Any, **options: Unpack[_options.OutputEither]) -> Any: ...


def check_output(*popenargs: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """Run a command and return what it wrote to its standard output; `CalledProcessError` unless its status
    is 0. Further arguments are those of `run`.

    `input=None` means empty input here, as in the standard function; leave *input* out to inherit ours.
    """
    for name in ("stdout", "check"):
        if name in kwargs:
            raise ValueError(
                f"{name} argument not allowed, it will be overridden by check_output; "
                f"use run(..., {name}=...) to decide it yourself"
            )
    if "input" in kwargs and kwargs["input"] is None:
        wants_text = any(kwargs.get(name) for name in ("text", "encoding", "errors", "universal_newlines"))
        kwargs["input"] = "" if wants_text else b""
    return package.run(*popenargs, stdout=PIPE, timeout=timeout, check=True, **kwargs).stdout
