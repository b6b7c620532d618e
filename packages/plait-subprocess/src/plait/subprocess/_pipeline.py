# SPDX-License-Identifier: MIT
"""Several commands, each reading what the one before it writes."""

# The commands are started from left to right. Each end of a pipe between two of them is closed as soon as its command
# has it, so that a command whose reader has ended gets SIGPIPE, and one whose writer has ended sees the end of its
# input. Until then both ends are in `in_flight` (see _platform): a forked copy of this process that kept one would
# keep SIGPIPE, or the end, from coming. All that is left with us, the first input, the last output and every captured
# stderr, is served by one Exchange: no command can be kept waiting by another's output, however many there are.
#
# However run() is left, every command started has ended and its status has been taken: see _ending.py.

from __future__ import annotations

from time import monotonic

from ._ending import await_killed, check_grace, end, let_go, lives_on, sit_out
from ._ends import OWN_PIPE, PIPE, size_pipes
from ._exchange import DRAIN_SECONDS, open_exchange
from ._handle import deadline_after
from ._in_flight import close, in_flight, open_pipe
from ._platform import winapi
from ._popen import Popen
from ._results import CalledProcessError, Of, TimeoutExpired
from ._run import replaced_popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, overload

    from typing_extensions import Unpack

    from . import _options
    from ._popen import Popen
    from ._results import T

__all__ = ["Command", "Pipeline", "PipelineResult"]

_OURS = ("stdin", "stdout", "stderr", "text", "encoding", "errors", "universal_newlines", "bufsize")


class Command:
    """What to start, and how, for a `Pipeline`: the arguments of `Popen`, except those that say what its standard
    streams are.

    >>> (Command(["echo", "b\\na"]) | ["sort"]).run(capture_output=True, text=True).stdout
    'a\\nb\\n'
    """

    __slots__ = ("args", "options")

    def __init__(self, args: Any, **options: Any) -> None:
        for name in _OURS:
            if name in options:
                raise TypeError(f"{name} is for Pipeline.run() to decide; leave it out of {args!r}")
        if not (isinstance(args, (str, bytes)) or hasattr(args, "__fspath__") or hasattr(args, "__iter__")):
            raise TypeError(f"a command is a list of arguments, or the name of a program, not {args!r}")
        self.args: Any = args
        self.options = options

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({self.args!r}{options})"

    def __str__(self) -> str:
        """As one would type it."""
        if isinstance(self.args, str):
            return self.args
        import os
        import shlex

        try:
            one = isinstance(self.args, (bytes, os.PathLike))
            return shlex.join(map(os.fsdecode, [self.args] if one else self.args))
        except TypeError:
            return repr(self.args)

    def __or__(self, other: Any) -> Pipeline:
        return Pipeline([self, *(other.commands if isinstance(other, Pipeline) else (other,))])

    def __ror__(self, other: Any) -> Pipeline:
        return Pipeline([other, self])


class PipelineResult(Of["T"]):
    """What became of a pipeline: `returncodes`, one for each command, `stdout` of the last, `stderr` of each.

    What was not captured is None.
    """

    __slots__ = ("commands", "returncodes", "stderr", "stdout")

    def __init__(
        self, commands: Sequence[Command], returncodes: Sequence[int], stdout: T, stderr: Sequence[T]
    ) -> None:
        self.commands = tuple(commands)
        self.returncodes = tuple(returncodes)
        self.stdout = stdout
        self.stderr = tuple(stderr)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} returncodes={self.returncodes} of {list(self.commands)!r}>"

    @property
    def returncode(self) -> int:
        """That of the rightmost command that failed; 0 if none did (the shell's `pipefail`)."""
        return next((code for code in reversed(self.returncodes) if code), 0)

    def check_returncodes(self) -> None:
        """Raise `CalledProcessError` for the rightmost command that failed, if one did."""
        for command, code, said in reversed(
            [*zip(self.commands, self.returncodes, self.stderr, strict=True)]
        ):
            if code:
                raise CalledProcessError(code, command.args, output=self.stdout, stderr=said)


class Pipeline:
    """Commands, each of which reads what the one before it writes. A list or a string is a `Command` without
    options; nothing passes through a shell unless a command has `shell=True`.

    So `Pipeline([["echo", "a"], ["cat"]])` is the shell's `echo a | cat`, and `Pipeline(["echo", "a"])` is `echo | a`: two
    programs. `str()` of a Pipeline shows it as one would type it.

    A Pipeline is a description: it may be run any number of times, by any number of threads at once.
    """

    __slots__ = ("commands",)

    def __init__(self, commands: Iterable[Any]) -> None:
        if isinstance(commands, (str, bytes, Command)):
            raise TypeError(
                f"a Pipeline is made of a list of commands, not {commands!r}: "
                "put it in a list, or use run(..., shell=True) for a line that the shell is to take apart"
            )
        self.commands = tuple(one if isinstance(one, Command) else Command(one) for one in commands)
        if not self.commands:
            raise ValueError("a pipeline has at least one command")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.commands)!r})"

    def __str__(self) -> str:
        return " | ".join(map(str, self.commands))

    def __ror__(self, other: Any) -> Pipeline:
        return Pipeline([other, *self.commands])

    def __or__(self, other: Any) -> Pipeline:
        return Pipeline([*self.commands, *(other.commands if isinstance(other, Pipeline) else (other,))])

    if TYPE_CHECKING:

        @overload
        def run(self, **options: Unpack[_options.LineText]) -> PipelineResult[str]: ...
        @overload
        def run(self, **options: Unpack[_options.LineEncoding]) -> PipelineResult[str]: ...
        @overload
        def run(self, **options: Unpack[_options.LineErrors]) -> PipelineResult[str]: ...
        @overload
        def run(self, **options: Unpack[_options.LineBytes]) -> PipelineResult[bytes]: ...
        @overload
        def run(self, **options: Unpack[_options.LineEither]) -> PipelineResult[Any]: ...

    def run(
        self,
        *,
        input: Any = None,  # noqa: A002
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        kill_tree: bool = False,
        grace: float = 0.0,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
    ) -> PipelineResult[Any]:
        """Run all commands to their ends.

        *input* goes to the first; *capture_output* collects stdout of the last and stderr of each. *stdin* of the first,
        *stdout* of the last and *stderr* of all may be given as to `run`: an open file, DEVNULL, or PIPE to collect it;
        with `stderr=STDOUT` what a command complains about goes the way of its output.

        With *check* a command that failed raises `CalledProcessError`; which counts those that SIGPIPE has ended (-13),
        as the shell's `pipefail` does. After *timeout* seconds all are killed, with *kill_tree* together with everything
        that they have started, and `TimeoutExpired` is raised with the output so far; stderr is then that of all, one
        after the other. Any other exception kills them too (the one of *check*, what is left of the trees). With
        *grace*, SIGTERM comes first, to all at once, and that many seconds.
        """
        deadline = None if timeout is None else deadline_after(timeout)
        if grace != 0:
            check_grace(grace)
        outer = self._outer_streams(input, stdin, stdout, stderr, capture_output)
        options = {"text": text, "encoding": encoding, "errors": errors, "mark_tree": kill_tree}
        processes: list[Popen[Any]] = []
        between: list[int] = []  # descriptors of ours that lead from command to command
        try:
            try:
                in_flight[id(between)] = between
                self._start(processes, between, outer, options)
            finally:
                try:
                    _forget(between)
                finally:  # once more, should a signal handler have raised in there
                    _forget(between)
            if not _serve(processes, input, deadline):
                raise TimeoutExpired(self, timeout or 0.0)
            said, complaints = _outputs(processes, True)
            codes = [process.wait() for process in processes]
            result = PipelineResult(self.commands, codes, said, complaints)
            if check and kill_tree:
                result.check_returncodes()
        except BaseException as problem:
            try:
                _wind_up_all(processes, problem, kill_tree, grace)
                if isinstance(problem, TimeoutExpired) and problem.cmd is self:
                    _add_the_rest(problem, processes)
            finally:
                _let_go_all(processes, kill_tree)
            raise
        if check:
            result.check_returncodes()
        return result

    @staticmethod
    def _outer_streams(
        given: Any, stdin: Any, stdout: Any, stderr: Any, capture_output: bool
    ) -> tuple[Any, Any, Any]:
        """stdin of the first, stdout of the last, stderr of all."""
        if given is not None:
            if stdin is not None:
                raise ValueError("pass either input or stdin: input needs a pipe of its own")
            stdin = PIPE
        if capture_output:
            if stdout is not None or stderr is not None:
                raise ValueError(
                    "capture_output sets stdout and stderr: leave them out, or leave capture_output out"
                )
            stdout = stderr = PIPE
        return OWN_PIPE if stdin == PIPE else stdin, stdout, stderr

    def _start(
        self,
        processes: list[Popen[Any]],
        between: list[int],
        outer: tuple[Any, Any, Any],
        options: dict[str, Any],
    ) -> None:
        kind = replaced_popen()
        source, last_sink, stderr = outer
        for command in self.commands:
            following: Any = None
            sink: Any = last_sink
            if len(processes) < len(self.commands) - 1:
                following, sink = open_pipe(between)
                size = command.options.get("pipesize")
                if isinstance(size, int) and size > 0 and winapi is None:
                    size_pipes([sink], size)
            how = {
                "stdin": source,
                "stdout": sink,
                "stderr": stderr,
                **options,
                **command.options,
            }
            # In the list before it is started, so that no signal handler can raise when it runs and nobody knows it.
            process: Any = object.__new__(kind)
            try:
                processes.append(process)
                process.__init__(command.args, **how)
            except BaseException as problem:
                if process._handle is None and process in processes:
                    processes.remove(process)
                if isinstance(problem, OSError) and all(type(one.args) is str for one in self.commands):
                    self._hint_at_lists(problem)
                raise
            close(between, (source, sink))
            source = following

    def _hint_at_lists(self, problem: OSError) -> None:
        """Tell who may have given the words of one command as so many commands."""
        add_note: Any = getattr(problem, "add_note", None)  # not before 3.11
        if add_note is not None:
            words = [one.args for one in self.commands]
            add_note(
                f"these are {len(words)} commands, {self}; one command with arguments is a list in the list: [{words!r}]"
            )


def _forget(between: list[int]) -> None:
    close(between, tuple(between))
    in_flight.pop(id(between), None)


def _serve(processes: list[Popen[Any]], given: Any, deadline: float | None) -> bool:
    """Write the input, read the outputs, wait for everybody; False if *deadline* came first."""
    first, last = processes[0], processes[-1]
    sources = (last.stdout, *(process.stderr for process in processes))
    exchange = open_exchange(first.stdin, sources, first._input_bytes(given))
    for process in processes:
        process._exchange = exchange
    if not exchange.pump(deadline, last.handle):
        return False
    for process in processes:
        try:
            process.wait(None if deadline is None else max(deadline - monotonic(), 0.0))
        except TimeoutExpired as late:
            if late.cmd is not process.args:
                raise  # out of a signal handler, about some other command
            return False
    return True


def _wind_up_all(processes: list[Popen[Any]], problem: BaseException, kill_tree: bool, grace: float) -> None:
    """As `wind_up` in _ending.py, for all of them at once."""
    try:
        _end_all(processes, kill_tree, grace)
    except PermissionError as refusal:
        living = [lives_on(process) for process in processes]
        if not any(living):
            raise
        problem.__cause__ = refusal
    else:
        for process in processes:
            await_killed(process)


def _end_all(processes: list[Popen[Any]], kill_tree: bool, grace: float) -> None:
    """End every command, whatever goes wrong with one of them."""
    try:
        if grace > 0 and processes:
            trees, asked = [], []
            for process in processes:
                tree = process._ask_tree() if kill_tree else None
                if tree is not None:
                    trees.append(tree)
                else:
                    try:
                        process.terminate()
                    except PermissionError:
                        continue  # it is not waited for; that it may not be killed either is told below
                asked.append(process)
            if asked:
                sit_out(asked, trees, grace)
    finally:
        _kill_all(processes, kill_tree)


def _kill_all(processes: list[Popen[Any]], kill_tree: bool) -> None:
    if processes:
        try:
            end(processes[0], kill_tree, 0.0)
        finally:
            _kill_all(processes[1:], kill_tree)


def _let_go_all(processes: list[Popen[Any]], kill_tree: bool) -> None:
    """As `let_go`, whatever goes wrong with one of them."""
    if processes:
        try:
            let_go(processes[0], kill_tree)
        finally:
            _let_go_all(processes[1:], kill_tree)


def _add_the_rest(told: TimeoutExpired, processes: list[Popen[Any]]) -> None:
    """Write into *told* what the killed have said; whoever else holds their pipes is not waited for."""
    exchange = processes[0]._exchange
    assert exchange is not None
    exchange.pump(monotonic() + DRAIN_SECONDS, processes[-1].handle)
    told.output, stderr = _outputs(processes, False)
    said = [one for one in stderr if one is not None]
    told.stderr = said[0][:0].join(said) if said else None


def _outputs(processes: list[Popen[Any]], complete: bool) -> tuple[Any, list[Any]]:
    errors = None if complete else "replace"
    stdout = processes[-1]._as_promised(processes[-1].stdout, complete, errors)
    return stdout, [process._as_promised(process.stderr, complete, errors) for process in processes]
