# SPDX-License-Identifier: MIT
"""What is left of a child that has ended, and the errors that speak about it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class Of(Generic[T]):
        """What can be subscripted with the type of its outputs."""

else:

    class Of:
        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias, without importing `types`


__all__ = [
    "CalledProcessError",
    "CompletedProcess",
    "Of",
    "OutputTooLarge",
    "SubprocessError",
    "TimeoutExpired",
    "incremental_decoder",
]

#: How much of a failed command's last words its error repeats.
_LAST_LINES = 10
_LAST_CHARACTERS = 2000


class _DecoderOfUnmarked:
    """An incremental decoder of UTF-16 or UTF-32 that takes what does not begin with a byte order mark for our own order,
    as `bytes.decode` does."""

    def __init__(self, name: str, width: int, errors: str) -> None:
        self._name, self._width = name, width
        self.errors = errors  # which may be changed, as with those of `codecs`
        self._beginning = b""
        self._decoder: Any = None

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text that is complete with *data*."""
        import codecs
        import sys

        if self._decoder is None:
            data = self._beginning = self._beginning + data
            if len(data) < self._width and not final:
                return ""
            # Each mark of UTF-32 in little-endian order begins with that of UTF-16, and is twice as long.
            width = self._width
            marks = {mark.encode(f"{self._name}-{order}") for mark in "\ufeff" for order in ("le", "be")}
            name = self._name if data[:width] in marks else f"{self._name}-{sys.byteorder[0]}e"
            self._decoder = codecs.getincrementaldecoder(name)(self.errors)
        self._decoder.errors = self.errors
        return self._decoder.decode(data, final)  # type: ignore[no-any-return]


def incremental_decoder(encoding: str, errors: str) -> Any:
    """What decodes text that comes in pieces, by `decode(data, final=False)`, just as `bytes.decode` would the whole."""
    import codecs

    name = codecs.lookup(encoding).name
    if name in ("utf-16", "utf-32"):
        return _DecoderOfUnmarked(name, 2 if name == "utf-16" else 4, errors)
    return codecs.getincrementaldecoder(encoding)(errors)


def _how_it_ended(returncode: Any) -> str:
    if not isinstance(returncode, int) or returncode >= 0:
        return f"returned non-zero exit status {returncode}"
    import signal  # an error message can afford the import; `import` of this package cannot

    try:
        name = repr(signal.Signals(-returncode))
    except ValueError:
        return f"died with unknown signal {-returncode}"
    return f"died with {name}"


def _last_words(stderr: Any) -> str:
    """The end of what a command has said, to be shown below the news that it failed."""
    if isinstance(stderr, (bytes, bytearray)):
        stderr = stderr[-4 * _LAST_CHARACTERS :].decode(errors="backslashreplace")
    if not isinstance(stderr, str) or not stderr.strip():
        return ""
    lines = stderr.rstrip()[-_LAST_CHARACTERS:].splitlines()[-_LAST_LINES:]
    return "\nThe last it wrote to stderr:\n" + "\n".join("  " + line for line in lines)


class SubprocessError(Exception):
    """Base of what this package raises about children.

    `phase` is the step at which a start failed (see `Popen`); None for what is not about a start.
    """

    phase: str | None = None


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

    def __reduce__(self) -> tuple[Any, ...]:
        # By the attributes: `args` lacks what was given by name, and a subclass may have arguments of its own.
        from copyreg import __newobj__  # type: ignore[attr-defined] # for pickle it means: without __init__

        return __newobj__, (type(self), *self.args), vars(self)


class CalledProcessError(_OutputError):
    """A child ended with a status other than 0, and the caller had asked to be told.

    `returncode` is negative for a signal. `cmd`, `output` (also `stdout`) and `stderr` are those of the call.

    Differs from the standard class: the text ends with the last lines of `stderr`, if that was captured.
    """

    def __init__(self, returncode: int, cmd: Any, output: Any = None, stderr: Any = None) -> None:
        self.returncode, self.cmd = returncode, cmd
        self.output, self.stderr = output, stderr

    def __str__(self) -> str:
        code: Any = self.returncode  # who makes one by hand may have given none
        by_signal = isinstance(code, int) and code < 0
        shown = f"'{self.cmd}'" if by_signal else repr(self.cmd)  # as the newest standard module has it
        return f"Command {shown} {_how_it_ended(self.returncode)}.{_last_words(self.stderr)}"


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

    def __str__(self) -> str:
        when = "" if self.phase is None else f", {self.phase}"
        return f"Command '{self.cmd}' timed out after {self.timeout} seconds{when}"


class OutputTooLarge(_OutputError):
    """A child has written more than `max_output` bytes to one of its captured outputs.

    `cmd` and `limit` are those of the call; `output` (also `stdout`) and `stderr` hold what was kept. The standard
    library knows no such bound.
    """

    def __init__(self, cmd: Any, limit: int, output: Any = None, stderr: Any = None) -> None:
        self.cmd, self.limit = cmd, limit
        self.output, self.stderr = output, stderr

    def __str__(self) -> str:
        return f"Command {self.cmd!r} wrote more than {self.limit} bytes, which was the limit"


class CompletedProcess(Of["T"]):
    """What `run` returns: `args`, `returncode`, and `stdout` and `stderr` where they were captured.

    A `returncode` of -N means that signal N ended the child. For type checkers it is a `CompletedProcess[str]` in text
    mode, otherwise a `CompletedProcess[bytes]`.
    """

    # What was not captured is None. That is not in the types: everybody knows what he has asked for.
    stdout: T
    stderr: T

    def __init__(self, args: Any, returncode: int, stdout: T | None = None, stderr: T | None = None) -> None:
        self.args = args
        self.returncode = returncode
        self.stdout = stdout  # type: ignore[assignment]
        self.stderr = stderr  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [f"args={self.args!r}", f"returncode={self.returncode!r}"]
        shown += [
            f"{name}={value!r}" for name in ("stdout", "stderr") if (value := getattr(self, name)) is not None
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def check_returncode(self) -> None:
        """Raise `CalledProcessError` unless the child ended with status 0."""
        if self.returncode:
            raise CalledProcessError(self.returncode, self.args, output=self.stdout, stderr=self.stderr)
