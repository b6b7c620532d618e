# SPDX-License-Identifier: MIT
"""One call, one child: start it, feed it, wait for it."""

from __future__ import annotations

from ._popen import OWN_PIPE, PIPE, Popen
from ._results import CalledProcessError, CompletedProcess, TimeoutExpired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["call", "check_call", "check_output", "run"]


def run(
    *popenargs: Any,
    input: Any = None,  # noqa: A002
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **kwargs: Any,
) -> CompletedProcess:
    """Run a command to its end and return a `CompletedProcess`. Further arguments are those of `Popen`.

    *input* is written to the command's standard input; *capture_output* collects stdout and stderr. With
    *check* a status other than 0 raises `CalledProcessError`. After *timeout* seconds the child is killed and
    `TimeoutExpired` raised; any other exception, such as KeyboardInterrupt, kills it too. When `run` has
    returned or raised, the child is gone.

    Differs from the standard function: after a time-out it returns within a fraction of a second even if a
    process that the command has started holds on to the pipes, and the exception has the output up to then.
    """
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("pass either input or stdin: input needs a pipe of its own")
        kwargs["stdin"] = PIPE
    if kwargs.get("stdin") == PIPE:
        kwargs["stdin"] = OWN_PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError(
                "capture_output sets stdout and stderr: leave them out, or leave capture_output out"
            )
        kwargs["stdout"] = kwargs["stderr"] = PIPE
    with Popen(*popenargs, **kwargs) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except TimeoutExpired as expired:
            process.kill()
            try:
                expired.output, expired.stderr = process.communicate()
            except UnicodeError:  # what was said makes no text; that it took too long is still the news
                expired.output, expired.stderr = process._output_so_far()
            raise
        except BaseException:
            process.kill()
            raise
        returncode = process.wait()
    if check and returncode:
        raise CalledProcessError(returncode, process.args, stdout, stderr)
    return CompletedProcess(process.args, returncode, stdout, stderr)


def call(*popenargs: Any, timeout: float | None = None, **kwargs: Any) -> int:
    """Run a command to its end and return its code. Give it no PIPE: nobody would read it.

    After *timeout* seconds, and on any other exception, the child is killed.
    """
    with Popen(*popenargs, **kwargs) as process:
        try:
            return process.wait(timeout)
        except BaseException:
            process.kill()
            raise


def check_call(*popenargs: Any, **kwargs: Any) -> int:
    """Like `call`, but a status other than 0 raises `CalledProcessError`."""
    returncode = call(*popenargs, **kwargs)
    if returncode:
        raise CalledProcessError(returncode, kwargs.get("args", popenargs[0] if popenargs else None))
    return 0


def check_output(*popenargs: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """Run a command and return what it wrote to its standard output; `CalledProcessError` unless its status
    is 0.

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
    return run(*popenargs, stdout=PIPE, timeout=timeout, check=True, **kwargs).stdout
