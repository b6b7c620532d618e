# SPDX-License-Identifier: MIT
"""What type checkers make of calls: mypy and pyright read this file (`tools/run.py types`), nobody runs it."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Any

from plait.subprocess import (
    DEVNULL,
    PIPE,
    Command,
    CompletedProcess,
    Pipeline,
    PipelineResult,
    Popen,
    arun,
    check_output,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import assert_type


def bytes_are_usual(path: os.PathLike[str]) -> None:
    assert_type(run(["true"]), CompletedProcess[bytes])
    assert_type(run(args="true", shell=True, stdout=PIPE, input=bytearray(b"x")), CompletedProcess[bytes])
    assert_type(run([path, "x"], capture_output=True, text=False, timeout=1).stdout, bytes)
    assert_type(run("x", env={"A": path}, pass_fds=[1], kill_tree=True, on_stdout=bytes.hex).stderr, bytes)
    assert_type(check_output(["true"]), bytes)
    assert_type(Pipeline([["true"]]).run(input=b"x"), PipelineResult[bytes])
    assert_type(Pipeline([["true"]]).run(stdin=DEVNULL, stderr=sys.stderr), PipelineResult[bytes])
    assert_type(Popen(["true"], stdin=PIPE), Popen[bytes])
    with Popen(["true"], stdin=PIPE) as process:
        assert_type(process.stdin, IO[bytes] | None)
        assert_type(process.lines(), Iterator[tuple[str, bytes]])
        assert_type(process.communicate(), tuple[bytes, bytes])
    assert_type(CompletedProcess(["git"], 0, b"out"), CompletedProcess[bytes])


def each_of_four_arguments_makes_it_text() -> None:
    assert_type(run(["true"], text=True), CompletedProcess[str])
    assert_type(run(["true"], encoding="utf-8"), CompletedProcess[str])
    assert_type(run(["true"], errors="replace"), CompletedProcess[str])
    assert_type(run(["true"], universal_newlines=True, input="x"), CompletedProcess[str])
    assert_type(run(["true"], text=True, on_stdout=str.upper, cwd=b"/", nice=1).stdout, str)
    assert_type(check_output("x", text=True, stderr=PIPE), str)
    assert_type(check_output("x", encoding="utf-8"), str)
    assert_type(check_output("x", errors="ignore"), str)
    assert_type(check_output("x", universal_newlines=True), str)
    assert_type(Popen("x", text=True), Popen[str])
    assert_type(Popen("x", encoding="utf-8", errors=None), Popen[str])
    assert_type(Popen("x", errors="ignore"), Popen[str])
    assert_type(Popen("x", universal_newlines=True).stdout, IO[str] | None)
    assert_type(Popen("x", text=True).communicate("input")[0], str)
    assert_type(CompletedProcess(["git"], 0, "out", ""), CompletedProcess[str])
    line = Command("x") | ["y"]
    assert_type(line.run(text=True, check=True).stdout, str)
    assert_type(line.run(encoding="utf-8").stderr, tuple[str, ...])
    assert_type(line.run(errors="ignore"), PipelineResult[str])


async def coroutines_too() -> None:
    assert_type(await arun(["true"], grace=1), CompletedProcess[bytes])
    assert_type(await arun(["true"], encoding="utf-8"), CompletedProcess[str])


def what_is_not_known_is_anything(text: bool, encoding: str | None) -> None:
    assert_type(run(["true"], text=text), CompletedProcess[Any])
    assert_type(run(["true"], encoding=encoding), CompletedProcess[Any])
    assert_type(check_output(["true"], text=text), Any)
    assert_type(Popen(["true"], 0, None, PIPE), Popen[Any])
    assert_type(Pipeline([["true"]]).run(text=text), PipelineResult[Any])


def mistakes_are_seen(process: Popen[bytes]) -> None:
    run(["true"], no_such_argument=1)  # type: ignore[call-overload]
    run(["true"], timeout="5")  # type: ignore[call-overload]
    Popen(["true"], env="PATH=1")  # type: ignore[call-overload]
    Popen(["true"], capture_output=True)  # type: ignore[call-overload]
    check_output(["true"], stdout=PIPE)  # type: ignore[call-overload]
    Pipeline([["true"]]).run(universal_newlines=True)  # type: ignore[call-overload]
    code: int = process.returncode  # who has waited for it knows; as typeshed has it
    assert code
    wrong: Popen[str] = process  # type: ignore[assignment]
    wrong.kill()
