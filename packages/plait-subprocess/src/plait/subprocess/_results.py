# SPDX-License-Identifier: MIT
"""What is left of a child that has ended, and the errors that speak about it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CalledProcessError", "CompletedProcess", "SubprocessError", "TimeoutExpired"]

# `type(list[int])` is types.GenericAlias, without importing `types`.
_GenericAlias: Any = type(list[int])
subscript: Any = classmethod(_GenericAlias)


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"returned non-zero exit status {returncode}"
    import signal  # an error message can afford the import; `import` of this package cannot

    try:
        name = repr(signal.Signals(-returncode))
    except ValueError:
        return f"died with unknown signal {-returncode}"
    return f"died with {name}"


class SubprocessError(Exception):
    """Base of what this package raises about children."""


class _OutputError(SubprocessError):
    """Carries what the child said; `stdout` is another name of `output`."""

    output: Any
    stderr: Any

    @property
    def stdout(self) -> Any:
        """What the child wrote to its standard output, if that was captured."""
        return self.output

    @stdout.setter
    def stdout(self, value: Any) -> None:
        self.output = value


class CalledProcessError(_OutputError):
    """A child ended with a status other than 0, and the caller had asked to be told.

    `returncode` is negative for a signal. `cmd`, `output` (also `stdout`) and `stderr` are those of the call.
    """

    def __init__(self, returncode: int, cmd: Any, output: Any = None, stderr: Any = None) -> None:
        self.returncode, self.cmd = returncode, cmd
        self.output, self.stderr = output, stderr

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.returncode, self.cmd, self.output, self.stderr)

    def __str__(self) -> str:
        shown = (
            repr(self.cmd) if self.returncode >= 0 else f"'{self.cmd}'"
        )  # as the newest standard module has it
        return f"Command {shown} {_how_it_ended(self.returncode)}."


class TimeoutExpired(_OutputError):
    """The child was not done in time.

    `timeout` is what the caller had allowed. Where output was captured, `output` (also `stdout`) and `stderr`
    hold what had come so far: `str` in text mode, `bytes` otherwise, and empty rather than `None` if nothing
    had come.

    Differs from the standard module, where they are `bytes` even in text mode and `None` when empty.
    """

    def __init__(self, cmd: Any, timeout: float, output: Any = None, stderr: Any = None) -> None:
        self.cmd, self.timeout = cmd, timeout
        self.output, self.stderr = output, stderr

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cmd, self.timeout, self.output, self.stderr)

    def __str__(self) -> str:
        return f"Command '{self.cmd}' timed out after {self.timeout} seconds"


class CompletedProcess:
    """What `run` returns: `args`, `returncode`, and `stdout` and `stderr` where they were captured.

    A `returncode` of -N means that signal N ended the child.
    """

    def __init__(self, args: Any, returncode: int, stdout: Any = None, stderr: Any = None) -> None:
        self.args = args
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    __class_getitem__ = subscript

    def __repr__(self) -> str:
        shown = [f"args={self.args!r}", f"returncode={self.returncode!r}"]
        shown += [
            f"{name}={value!r}" for name in ("stdout", "stderr") if (value := getattr(self, name)) is not None
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def check_returncode(self) -> None:
        """Raise `CalledProcessError` unless the child ended with status 0."""
        if self.returncode:
            raise CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)
