# SPDX-License-Identifier: MIT
"""The arguments of what starts a child, for type checkers: nothing of this exists at run time."""

# Whether outputs are `str` or `bytes` is decided by any of four arguments. One of the "kinds" says so; each function has an
# overload for each of them, and a last one for what is known at run time only.

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal, TypeAlias, TypedDict

    from _typeshed import HasFileno, ReadableBuffer, StrOrBytesPath
    from typing_extensions import Required

    Args: TypeAlias = StrOrBytesPath | Sequence[StrOrBytesPath]
    Stream: TypeAlias = int | HasFileno | None

    # -- the kinds

    class Bytes(TypedDict, total=False):
        text: Literal[False] | None
        encoding: None
        errors: None

    class Text(TypedDict, total=False):
        text: Required[Literal[True]]
        encoding: str | None
        errors: str | None

    class Encoding(TypedDict, total=False):
        text: bool | None
        encoding: Required[str]
        errors: str | None

    class Errors(TypedDict, total=False):
        text: bool | None
        encoding: str | None
        errors: Required[str]

    class Either(TypedDict, total=False):
        text: bool | None
        encoding: str | None
        errors: str | None

    class NotOld(TypedDict, total=False):
        universal_newlines: Literal[False] | None

    class Old(TypedDict, total=False):
        universal_newlines: Required[Literal[True]]

    class MaybeOld(TypedDict, total=False):
        universal_newlines: bool | None

    # -- what is told and given, which is of the same kind

    class OfBytes(TypedDict, total=False):
        input: ReadableBuffer | None
        on_stdout: Callable[[bytes], object] | None
        on_stderr: Callable[[bytes], object] | None

    class OfText(TypedDict, total=False):
        input: str | None
        on_stdout: Callable[[str], object] | None
        on_stderr: Callable[[str], object] | None

    class OfEither(TypedDict, total=False):
        input: Any
        on_stdout: Callable[[Any], object] | None
        on_stderr: Callable[[Any], object] | None

    # -- all the others

    class Start(TypedDict, total=False):
        bufsize: int | None
        executable: StrOrBytesPath | None
        stdin: Stream
        stderr: Stream
        preexec_fn: Callable[[], object] | None
        close_fds: bool
        shell: bool
        cwd: StrOrBytesPath | None
        env: Mapping[str, StrOrBytesPath] | Mapping[bytes, StrOrBytesPath] | None
        startupinfo: Any
        creationflags: int
        restore_signals: bool
        start_new_session: bool
        pass_fds: Iterable[int]
        user: str | int | None
        group: str | int | None
        extra_groups: Iterable[str | int] | None
        umask: int
        pipesize: int | None
        process_group: int | None
        mark_tree: bool
        rlimits: Mapping[int, int | tuple[int, int]] | None
        nice: int
        die_with_parent: bool
        spawn_timeout: float | None

    class Stdout(TypedDict, total=False):
        stdout: Stream

    class Limits(TypedDict, total=False):
        timeout: float | None
        kill_tree: bool
        grace: float

    class Output(Limits, total=False):
        max_output: int | None

    class Whole(Limits, total=False):
        capture_output: bool
        check: bool

    # -- Popen

    class PopenBytes(Start, Stdout, Bytes, NotOld): ...

    class PopenText(Start, Stdout, Text, MaybeOld): ...

    class PopenEncoding(Start, Stdout, Encoding, MaybeOld): ...

    class PopenErrors(Start, Stdout, Errors, MaybeOld): ...

    class PopenOld(Start, Stdout, Either, Old): ...

    class PopenEither(Start, Stdout, Either, MaybeOld): ...

    # -- run and arun

    class RunBytes(PopenBytes, OfBytes, Output, Whole): ...

    class RunText(PopenText, OfText, Output, Whole): ...

    class RunEncoding(PopenEncoding, OfText, Output, Whole): ...

    class RunErrors(PopenErrors, OfText, Output, Whole): ...

    class RunOld(PopenOld, OfText, Output, Whole): ...

    class RunEither(PopenEither, OfEither, Output, Whole): ...

    # -- check_output

    class OutputBytes(Start, Bytes, NotOld, OfBytes, Output): ...

    class OutputText(Start, Text, MaybeOld, OfText, Output): ...

    class OutputEncoding(Start, Encoding, MaybeOld, OfText, Output): ...

    class OutputErrors(Start, Errors, MaybeOld, OfText, Output): ...

    class OutputOld(Start, Either, Old, OfText, Output): ...

    class OutputEither(Start, Either, MaybeOld, OfEither, Output): ...

    # -- Pipeline.run

    class GivenBytes(TypedDict, total=False):
        input: ReadableBuffer | None

    class GivenText(TypedDict, total=False):
        input: str | None

    class GivenEither(TypedDict, total=False):
        input: Any

    class Line(Stdout, Whole, total=False):
        stdin: Stream
        stderr: Stream

    class LineBytes(Line, Bytes, GivenBytes): ...

    class LineText(Line, Text, GivenText): ...

    class LineEncoding(Line, Encoding, GivenText): ...

    class LineErrors(Line, Errors, GivenText): ...

    class LineEither(Line, Either, GivenEither): ...
