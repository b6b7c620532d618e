# SPDX-License-Identifier: MIT
"""What the census counts in one file: the part that is the same whoever calls it, and however many at once.

Every measuring function takes a `Source` and returns a small tuple that says *why* when it has no figures: a file that
cannot be read, decoded or parsed is part of the result, not the end of the run. Nothing here may hang: whatever is not
a regular file (a FIFO, a socket, a directory, a device) is refused before anybody reads from it.
"""

from __future__ import annotations

import ast
import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "GZIP_ARGUMENTS",
    "Compressed",
    "Digest",
    "Parsed",
    "Record",
    "Skipped",
    "Source",
    "combine",
    "digest",
    "find_sources",
    "open_source",
    "parse",
    "why",
]

#: How the machine's gzip is asked, by both passes. `-n` keeps name and time out, so that a size is a fact of the bytes.
GZIP_ARGUMENTS = ("-6", "-n", "-c")

#: Refused above this. No Python source is this long; a bogus file under /proc that never ends may be.
SIZE_LIMIT = 64 * 2**20

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Source(NamedTuple):
    """One file to be measured. *shown* is its path below the folder, with nothing in it that a terminal would obey."""

    number: int
    path: str
    shown: str
    size: int


class Skipped(NamedTuple):
    """A name ending in `.py` that is no file that could be read, found while walking."""

    shown: str
    problem: str


class Parsed(NamedTuple):
    """What the process pool finds out."""

    functions: int = 0
    classes: int = 0
    nodes: int = 0
    problem: str = ""


class Digest(NamedTuple):
    """What the thread pool finds out."""

    size: int = 0
    lines: int = 0
    sha256: str = ""
    problem: str = ""


class Compressed(NamedTuple):
    """What a gzip child finds out."""

    compressed: int = 0
    problem: str = ""


class Record(NamedTuple):
    """Every figure of one file. Two passes agree on a file if and only if their records are equal."""

    shown: str
    size: int
    lines: int
    sha256: str
    functions: int
    classes: int
    nodes: int
    compressed: int
    problem: str


def combine(source: Source, digested: Digest, parsed: Parsed, compressed: Compressed) -> Record:
    """Join the three parts; the reason shown is that of the first step that failed, in the order read, parse, gzip."""
    return Record(
        source.shown,
        digested.size,
        digested.lines,
        digested.sha256,
        parsed.functions,
        parsed.classes,
        parsed.nodes,
        compressed.compressed,
        digested.problem or parsed.problem or compressed.problem,
    )


def why(error: BaseException) -> str:
    """The reason, in words that are the same in every process and in every pass."""
    if isinstance(error, OSError):
        return f"unreadable: {error.strerror or error}"
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding}: {error.reason} at byte {error.start}"
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})" if error.lineno else ""
        return f"not parsed: {error.msg}{where}"
    return f"not parsed: {type(error).__name__}: {error}"


def printable(path: str) -> str:
    """*path* with undecodable bytes and control characters spelt out."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def find_sources(folder: str) -> tuple[list[Source], list[Skipped]]:
    """Everything below *folder* whose name ends in `.py`, in a stable order.

    Links to folders are not followed, nor is what other people installed (`site-packages`, `dist-packages`) counted.
    """
    sources: list[Source] = []
    skipped: list[Skipped] = []

    def complain(error: OSError) -> None:
        skipped.append(Skipped(printable(os.path.relpath(error.filename, folder)), f"folder {why(error)}"))

    for here, folders, files in os.walk(folder, onerror=complain):
        folders[:] = sorted(
            name for name in folders if name not in ("site-packages", "dist-packages", "__pycache__")
        )
        for name in sorted([*files, *folders]):
            if not name.endswith(".py"):
                continue
            path = os.path.join(here, name)
            shown = printable(os.path.relpath(path, folder))
            try:
                found = os.stat(path)
            except OSError as error:
                reason = "a dangling symbolic link" if os.path.islink(path) else why(error)
                skipped.append(Skipped(shown, reason))
                continue
            if stat.S_ISREG(found.st_mode):
                sources.append(Source(len(sources), path, shown, found.st_size))
            else:
                kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
                skipped.append(Skipped(shown, f"{kind}, not a file"))
    return sources, skipped


def open_source(path: str) -> int:
    """A descriptor to read *path* from, or OSError.

    Looked at again after the walk, and without waiting for a writer, because a FIFO may have taken the file's place.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "no longer a regular file", path)
        if found.st_size > SIZE_LIMIT:
            raise OSError(0, f"larger than {SIZE_LIMIT >> 20} MiB", path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(path: str) -> bytes:
    """The bytes of *path*, or OSError."""
    with open(open_source(path), "rb") as file:
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise OSError(0, f"larger than {SIZE_LIMIT >> 20} MiB", path)
    return data


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, without recursion and without the queue that `ast.walk` keeps in order for nobody."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def parse(source: Source) -> Parsed:
    """Count functions (methods and coroutines too), classes and syntax nodes."""
    try:
        data = read(source.path)
        with warnings.catch_warnings():
            # Whether "\d" deserves a warning is between its author and the compiler.
            warnings.simplefilter("ignore")
            tree = ast.parse(data, source.shown)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Parsed(problem=why(error))
    functions = classes = nodes = 0
    for node in _nodes(tree):
        nodes += 1
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions += 1
        elif isinstance(node, ast.ClassDef):
            classes += 1
    return Parsed(functions, classes, nodes)


def digest(source: Source) -> Digest:
    """Read and hash; count bytes and lines (a last line without a newline is a line)."""
    try:
        data = read(source.path)
    except OSError as error:
        return Digest(problem=why(error))
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    return Digest(len(data), lines, hashlib.sha256(data).hexdigest())
