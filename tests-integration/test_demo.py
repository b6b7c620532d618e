# SPDX-License-Identifier: MIT
"""tools/demo.py: right figures on a good day, a prompt and clean end on any other."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import signal
import socket
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import watched
from watched import Watched

TOOLS = Path(__file__).resolve().parent.parent / "tools"
DEMO = TOOLS / "demo.py"
SEEN_OFTEN = Path(__file__).resolve().parent / "programs" / "demo_seen_often.py"
pytestmark = [
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes left behind are found in /proc"),
    pytest.mark.skipif(not DEMO.exists(), reason="the demo is part of the repository, not of a package"),
]

SOURCE = '''"""Module {number}."""


class Thing{number}:
    def method(self):
        return {number}


async def work(items):
    return [item async for item in items]
'''
FILES = 120  # more batches of every kind than its workers are given at once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Many files: an empty one, one that is not UTF-8, one that cannot be read even by root, and good ones."""
    made = tmp_path / "sources"
    for number in range(FILES - 3):
        path = made / f"package{number % 7}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.format(number=number) * (1 + number % 5), encoding="utf-8")
    (made / "empty.py").touch()
    (made / "latin.py").write_bytes("name = 'Zoë'\n".encode("latin-1"))
    (made / "memory.py").symlink_to("/proc/self/mem")  # a regular file whose first byte is an I/O error
    return made


def figures(out: str) -> dict[str, int]:
    """The totals of the table."""
    rows = re.findall(
        r"^  (files|lines|definitions|syntax nodes|bytes|compressed bytes)  +([\d,]+)", out, re.MULTILINE
    )
    return {name: int(value.replace(",", "")) for name, value in rows}


# --- a good day -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_counts_what_is_there_and_agrees_with_the_serial_pass(folder: Path, method: str):
    ended = watched.run(DEMO, folder, "--start-method", method, "--workers", 2, deadline=40)
    copies = sum(1 + number % 5 for number in range(FILES - 3))
    readable = [path for path in folder.rglob("*.py") if path.name != "memory.py"]
    shown = figures(ended.out)
    assert shown["files"] == FILES - 1, str(ended)
    assert shown["definitions"] == 3 * copies
    assert shown["lines"] == SOURCE.count("\n") * copies + 1
    assert shown["bytes"] == sum(path.stat().st_size for path in readable)
    assert 0 < shown["compressed bytes"] < shown["bytes"]
    assert "every figure agrees with the serial pass" in ended.out
    assert re.search(r"latin\.py +not parsed: .*utf-8", ended.out)
    assert re.search(r"memory\.py +unreadable: Input/output error", ended.out)
    assert "empty.py " not in ended.out  # nothing is wrong with it, and it is not large
    assert ended.err == ""


def test_names_that_are_no_files_are_listed_and_hang_nothing(tmp_path: Path):
    (tmp_path / "good.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder.py" / "inside.py").write_text("y = 2", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "bro\nken\x1b[31m.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / os.fsdecode(b"unde\xffcodable.py")).write_text("z = 3\n", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as server:
        short = os.path.relpath(tmp_path / "socket.py")  # a socket's path may only be so long
        if len(short) < 100:
            server.bind(short)
        page = tmp_path / "page.html"
        ended = watched.run(DEMO, tmp_path, "--html", page, deadline=20)
    assert figures(ended.out)["files"] == 4, str(ended)
    for shown, reason in [
        (r"folder\.py", "a directory, not a file"),
        (r"pipe\.py", "a FIFO, not a file"),
        (r"dangling\.py", "a dangling symbolic link"),
        (r"loop\.py", "a dangling symbolic link"),
        (r"zero\.py", "a character device, not a file"),
        (r"bro\\nken\\x1b\[31m\.py", "not parsed: invalid syntax"),
    ]:
        assert re.search(rf"  {shown} +{reason}", ended.out), f"{shown}\n{ended}"
    ElementTree.fromstring(page.read_text(encoding="utf-8").partition("\n")[2])


@pytest.mark.once
def test_an_empty_folder_or_none_is_a_wrong_call(tmp_path: Path):
    assert "no .py file" in watched.run(DEMO, tmp_path, code=2).err
    assert "not a folder" in watched.run(DEMO, tmp_path / "missing", code=2).err
    assert "fewer than one" in watched.run(DEMO, tmp_path, "--workers", 0, code=2).err


def test_one_worker_and_a_queue_of_one_do_not_block_each_other(folder: Path):
    watched.run(DEMO, folder, "--workers", 1, "--hashers", 1, "--gzips", 1, "--bound", 1, deadline=40)


@pytest.mark.once
def test_its_lines_are_few_when_nobody_looks_at_a_terminal(folder: Path):
    ended = watched.run(DEMO, folder)
    progress = [line for line in ended.out.splitlines() if "parsed" in line and "stored" in line]
    assert len(progress) <= 2 + ended.seconds / 2


def test_it_imports_no_concurrency_but_plait():
    banned = {
        "threading",
        "queue",
        "sched",
        "subprocess",
        "multiprocessing",
        "concurrent",
        "_thread",
        "asyncio",
    }
    for path in [DEMO, *sorted((TOOLS / "census").glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            assert not banned & {name.partition(".")[0] for name in names}, f"{path.name}:{node.lineno}"


def test_the_standard_modules_stay_out_of_its_process(folder: Path):
    # Python 3.10's own gettext or shutil may bring some along: only what the demo adds to a bare start counts. And its
    # C call that starts programs (no other's) imports the standard subprocess by itself.
    program = """
import sys
sys.path.insert(0, {tools!r})
import argparse, os, shutil, sqlite3, tempfile, ast, hashlib, html, zlib, bz2, lzma
if sys.version_info < (3, 11):
    import subprocess
before = set(sys.modules)
import demo
if __name__ == "__main__":
    code = demo.main(sys.argv[1:])
    names = "threading queue sched subprocess multiprocessing concurrent.futures".split()
    print("EXTRA", sorted(name for name in names if name in sys.modules and name not in before))
    sys.exit(code)
"""
    script = folder.parent / "bare.py"
    script.write_text(program.format(tools=str(TOOLS)), encoding="utf-8")
    ended = watched.run(script, folder, deadline=40)
    assert "EXTRA []" in ended.out, str(ended)


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_page_is_well_formed_complete_and_needs_nothing_else(folder: Path, tmp_path: Path):
    page = tmp_path / "census & more.html"
    watched.run(DEMO, folder, "--html", page, "--workers", 2, deadline=40)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    root = ElementTree.fromstring(text.partition("\n")[2])
    for element in root.iter():
        assert element.tag not in {"script", "link", "img", "iframe", "object", "embed", "a"}, element.tag
        assert not {"src", "href"} & set(element.keys())
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    rows = [row for row in root.iter("text") if row.get("class") == "name"]
    kinds = sorted(re.sub(r" \d+$", "", "".join(row.itertext())) for row in rows)
    assert {"parse process", "hash thread", "gzip thread", "writer thread"} == set(kinds)
    assert kinds.count("parse process") <= 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".census")] == []


@pytest.mark.once
def test_no_page_is_written_when_a_figure_differs_and_the_old_one_stays(folder: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    sabotaged(folder, tmp_path, "--html", page, field="lines")
    assert page.read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


# --- a figure is wrong ----------------------------------------------------------------------------------------------

SABOTAGE = """
import sys
sys.path.insert(0, {tools!r})
import demo
field = {field!r}
honest = demo.compare
def compare(outcome, plain):
    at = next(i for i, record in enumerate(outcome.records) if record.shown.endswith("module42.py"))
    old = getattr(outcome.records[at], field)
    new = old + 1 if isinstance(old, int) else old[::-1] + "x"
    outcome.records[at] = outcome.records[at]._replace(**{{field: new}})
    return honest(outcome, plain)
demo.compare = compare
if __name__ == "__main__":
    sys.exit(demo.main(sys.argv[1:]))
"""


def sabotaged(folder: Path, tmp_path: Path, *more: object, field: str) -> watched.Ended:
    script = tmp_path / "sabotage.py"
    script.write_text(SABOTAGE.format(tools=str(TOOLS), field=field), encoding="utf-8")
    return watched.run(script, folder, *more, code=1, deadline=40)


@pytest.mark.once
@pytest.mark.parametrize("field", ["lines", "sha256", "functions", "compressed", "problem"])
def test_one_altered_figure_is_found_and_its_file_named(folder: Path, tmp_path: Path, field: str):
    ended = sabotaged(folder, tmp_path, field=field)
    assert re.search(rf"DIFFERENT package0/module42\.py: {field} is ", ended.err)
    assert "disagree on 1 figures" in ended.err
    assert "every figure agrees" not in ended.out


def test_a_missing_and_a_doubled_file_are_differences():
    specification = importlib.util.spec_from_file_location("census", TOOLS / "census" / "__init__.py")
    assert specification
    program = f"""
import sys
sys.path.insert(0, {str(TOOLS)!r})
from census.measure import Record
from census.serial import differences
one, two = (Record(name, 1, 1, "", 0, 0, 0, 1, "") for name in ("one.py", "two.py"))
assert differences([one, two], [one, two]) == []
assert "two.py: measured only by the serial" in differences([one], [one, two])[0]
assert "two.py: measured only by the concurrent" in differences([one, two], [one])[0]
assert "twice" in differences([one, one], [one])[0]
"""
    watched.run("-c", program)


# --- it is stopped --------------------------------------------------------------------------------------------------

# The standard library keeps it busy for many seconds.
BUSY = ["--workers", 2]


def busy(*more: object) -> Watched:
    program = Watched(SEEN_OFTEN, *BUSY, *more, deadline=60)
    program.until_out(r"parsed [1-9].*\n  workers \d+ .*\n", within=30)
    program.descendants()  # so that they are known from now on
    return program


def workers(program: Watched) -> list[int]:
    """The process ids of the busy demo's workers, as it names them itself."""
    return [int(pid) for pid in re.findall(r"workers (.*)\n", program.out)[-1].split()]


@pytest.mark.parametrize("to_group", [False, True], ids=["the process", "the group"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_ctrl_c_ends_it_soon(tmp_path: Path, method: str, to_group: bool):
    page = tmp_path / "page.html"
    with busy("--start-method", method, "--html", page) as program:
        begun = time.monotonic()
        (program.send_to_group if to_group else program.send)(signal.SIGINT)
        ended = program.end(within=watched.SOON)
        print(f"ended {time.monotonic() - begun:.2f} s after Ctrl-C")
    assert ended.code == 130, str(ended)
    assert re.fullmatch(r"\ninterrupted by SIGINT after [\d.]+ s\n", ended.err), ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_second_ctrl_c_changes_nothing():
    with busy() as program:
        program.send_to_group(signal.SIGINT)
        time.sleep(0.02)
        try:
            program.send_to_group(signal.SIGINT)
        except ProcessLookupError:
            pass  # so fast
        ended = program.end(within=watched.SOON)
    assert ended.code == 130, str(ended)


def test_ctrl_c_at_once_and_in_the_serial_pass(folder: Path):
    with Watched(DEMO, folder) as program:
        program.until_out("census of")
        program.send_to_group(signal.SIGINT)
        assert program.end(within=watched.SOON).code == 130
    with Watched(DEMO, folder) as program:
        program.until_out("serially")
        program.send_to_group(signal.SIGINT)
        assert program.end(within=watched.SOON).code == 130


@pytest.mark.parametrize("to_group", [False, True], ids=["the process", "the group"])
def test_sigterm_ends_it_cleanly(to_group: bool):
    with busy() as program:
        (program.send_to_group if to_group else program.send)(signal.SIGTERM)
        ended = program.end(within=watched.SOON)
    assert ended.code == 143, str(ended)
    assert "SIGTERM" in ended.err


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_killed_worker_is_named_and_ends_the_run(method: str):
    with busy("--start-method", method) as program:
        victim = workers(program)[-1]
        os.kill(victim, signal.SIGKILL)
        ended = program.end(within=watched.SOON)
    assert ended.code == 3, str(ended)
    assert str(victim) in ended.err, str(ended)
    assert "SIGKILL" in ended.err or "signal 9" in ended.err, str(ended)
    assert "Traceback" not in ended.err


def test_a_stopped_worker_does_not_keep_ctrl_c_waiting():
    with busy() as program:
        os.kill(workers(program)[-1], signal.SIGSTOP)
        program.send(signal.SIGINT)
        assert program.end(within=watched.SOON).code == 130


# --- a part of it fails ---------------------------------------------------------------------------------------------

HOOKED = """
import os, signal, sys
sys.path.insert(0, {tools!r})
import demo
from census import measure, pipeline, progress, stages, store
{hook}
if __name__ == "__main__":
    sys.exit(demo.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("store.UPDATES[measure.Digest] = 'update nothing'", "writer: "),
        (
            "progress.PlainDisplay.interval = 0.01\nprogress.PlainDisplay.show = lambda *_: 1 / 0",
            "progress: ",
        ),
        ("stages.GZIP_ARGUMENTS = ()\nstages.PIPE = object()", "gzip: "),
        ("pipeline.digest_batch = lambda batch: [][0]", "hash: "),
        ("stages.Part = None", ": "),
    ],
    ids=["the writer", "the display", "gzip", "a hash thread", "every stage"],
)
def test_one_failing_part_stops_the_others(folder: Path, tmp_path: Path, hook: str, message: str):
    script = tmp_path / "hooked.py"
    script.write_text(HOOKED.format(tools=str(TOOLS), hook=hook), encoding="utf-8")
    with Watched(script, folder, "--bound", 1, "--start-method", "spawn") as program:
        ended = program.end(within=watched.SOON)
    assert ended.code == 3, str(ended)
    assert re.match(rf"error: [a-z]*{message}", ended.err), str(ended)
    assert "abandoned" not in ended.err


def test_a_killed_gzip_is_named(folder: Path, tmp_path: Path):
    fake = tmp_path / "gzip"
    fake.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    fake.chmod(0o755)
    ended = watched.run(DEMO, folder, code=3, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert re.search(r"gzip \(pid \d+\), compressing .*\.py, was killed by SIGKILL", ended.err)


def test_a_gzip_that_never_ends_is_ended_by_ctrl_c(folder: Path, tmp_path: Path):
    fake = tmp_path / "gzip"
    fake.write_text("#!/bin/sh\necho up >&2\nexec sleep 60\n", encoding="utf-8")
    fake.chmod(0o755)
    with Watched(DEMO, folder, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as program:
        program.until("gzip runs", lambda: any("sleep" in each.title for each in program.descendants()))
        program.send(signal.SIGINT)
        assert program.end(within=watched.SOON).code == 130


def test_nobody_reading_its_output_is_no_reason_for_a_traceback(folder: Path):
    # `demo.py | true`: the pipe is closed before the first line
    program = f"""
import os, sys
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.execv(sys.executable, [sys.executable, {str(DEMO)!r}, {str(folder)!r}])
"""
    ended = watched.run("-c", program, code=3)
    assert ended.err == "", str(ended)
