# SPDX-License-Identifier: MIT
"""Commands with next to no options: run by the short way, and no other than by the long one."""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import subprocess as stdlib_subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from descriptors import open_descriptors

from plait.subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    Command,
    Popen,
    _alone,
    _handle,
    call,
    check_output,
    run,
)

PACKAGE = Popen.__module__


@contextmanager
def heard(event):
    """The arguments of the audit events of that name."""
    told, listening = [], [True]
    sys.addaudithook(lambda name, given: told.append(given) if listening and name == event else None)
    yield told
    listening.clear()


def script(code, *arguments, **options):
    """Run *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [
        sys.executable,
        "-c",
        "import importlib, os, sys\npiece = importlib.import_module(sys.argv[1])\n" + code,
    ]
    return run(
        [*command, PACKAGE, *arguments], timeout=100, env=env, text=True, capture_output=True, **options
    )


@pytest.fixture
def plain_runs(monkeypatch):
    """How often the short way was taken."""
    taken = []
    run_module = importlib.import_module(PACKAGE + "._run")

    def watched(*args, **kwargs):
        taken.append(args)
        return _alone.run_plainly(*args, **kwargs)

    run(["true"])  # something has to have been started before
    monkeypatch.setattr(run_module, "run_plainly", watched)
    return taken


@pytest.fixture
def heard_runs(monkeypatch):
    """The options of the commands whose outputs were read by the short way."""
    taken = []
    run_module = importlib.import_module(PACKAGE + "._run")

    def watched(*args, **options):
        taken.append(options)
        return _alone.hear_plainly(*args, **options)

    run(["true"])
    monkeypatch.setattr(run_module, "hear_plainly", watched)
    return taken


@contextmanager
def nothing_is_left():
    """No child, no descriptor, nothing that forked copies would have to close."""
    in_flight = importlib.import_module(PACKAGE + "._in_flight")
    gc.collect()  # what others have left
    before = open_descriptors()
    yield
    assert open_descriptors() == before
    assert len(in_flight.error_pipes) == len(in_flight.spare)
    assert (in_flight.in_flight, _alone.failed, in_flight.no_fork._is_owned()) == ({}, {}, False)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("options", [{}, {"close_fds": False}])
def test_the_short_way_gives_the_same(options, plain_runs):
    command = ["sh", "-c", "exit 3"]
    ours, theirs = run(command, **options), stdlib_subprocess.run(command, **options)
    assert repr(ours) == repr(theirs)
    assert call(["sh", "-c", "kill $$"], **options) == -signal.SIGTERM
    with pytest.raises(CalledProcessError) as caught:
        run(command, check=True, **options)
    assert (caught.value.cmd, caught.value.returncode) == (command, 3)
    with pytest.raises(FileNotFoundError) as caught:
        run(["/absent/program"], **options)
    assert (caught.value.filename, caught.value.phase) == ("/absent/program", "exec")
    if _alone.is_plain((command,), options):  # else the interpreter's private call is not to be used
        assert len(plain_runs) == 4


SAYS = ["sh", "-c", r"printf 'out\r\n\351'; printf 'err\r' >&2; exit 3"]


@pytest.mark.parametrize("text", [{}, {"encoding": "latin-1"}, {"text": True, "errors": "replace"}])
@pytest.mark.parametrize(
    "outputs",
    [
        {"stdout": PIPE},
        {"stdout": PIPE, "stderr": STDOUT},
        {"stdout": PIPE, "stderr": PIPE},
        {"capture_output": True},
        {"capture_output": True, "close_fds": False},
    ],
)
def test_outputs_that_are_heard_by_the_short_way_are_the_same(outputs, text, heard_runs):
    options = {**outputs, **text}
    with nothing_is_left():
        ours, theirs = run(SAYS, **options), stdlib_subprocess.run(SAYS, **options)
        assert repr(ours) == repr(theirs)
        with pytest.raises(CalledProcessError) as caught:
            run(SAYS, check=True, **options)
        problem = caught.value
        assert (problem.cmd, problem.returncode) == (SAYS, 3)
        assert (problem.stdout, problem.stderr) == (theirs.stdout, theirs.stderr)
        with pytest.raises(FileNotFoundError) as missing:
            run(["/absent/program"], **options)
        assert (missing.value.filename, missing.value.phase) == ("/absent/program", "exec")
    if _alone.is_plain((SAYS,), {}):
        assert len(heard_runs) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"stdout": None},
        {"stdout": DEVNULL},
        {"stdout": True},
        {"stdout": PIPE, "stderr": DEVNULL},
        {"stdout": PIPE, "stderr": 2},
        {"stdout": PIPE, "cwd": "/"},
        {"stdout": PIPE, "bufsize": 0},
        {"stdout": PIPE, "universal_newlines": True},
        {"stdout": PIPE, "timeout": 20},
        {"stdout": PIPE, "input": b""},
        {"stdout": PIPE, "max_output": 10},
        {"stdout": PIPE, "on_stdout": print},
        {"stdout": PIPE, "kill_tree": True},
    ],
)
def test_all_else_is_asked_of_a_popen(options, heard_runs):
    assert run(["true"], **options).returncode == 0
    assert heard_runs == []


def test_captured_outputs_that_go_elsewhere_are_refused_as_ever(heard_runs):
    for name in ("stdout", "stderr"):
        with pytest.raises(ValueError, match="capture_output sets"):
            run(["true"], capture_output=True, **{name: PIPE})
    assert heard_runs == []


@pytest.mark.parametrize("size", [200_000, 400_000])  # a few reads, and more
def test_much_that_comes_by_both_outputs_at_a_time_is_all_there(size, heard_runs):
    command = ["sh", "-c", f"yes out | head -c {size} & yes err | head -c {size} >&2; wait"]
    with nothing_is_left():
        both = run(command, capture_output=True)
        assert (both.stdout, both.stderr) == (b"out\n" * (size // 4), b"err\n" * (size // 4))
        assert run(command, stdout=PIPE, stderr=STDOUT).stdout.count(b"\n") == size // 2
        assert check_output(["head", "-c", str(size), "/dev/zero"]) == bytes(size)
        only_err = ["sh", "-c", f"exec >&-; head -c {size} /dev/zero >&2"]
        assert run(only_err, capture_output=True).stderr == bytes(size)


class HungUp:
    """select.poll() as it may be on Linux when the last words are said in the moment of the look."""

    def __init__(self):
        self._poll = select_poll()
        self.register, self.unregister = self._poll.register, self._poll.unregister

    def poll(self):
        ready = self._poll.poll()
        while not all(event & select.POLLHUP for _, event in ready):
            time.sleep(0.001)
            ready = self._poll.poll()
        return [(fd, event & ~select.POLLIN) for fd, event in ready]


select_poll = select.poll


def test_last_words_are_heard_though_the_kernel_has_told_of_the_end_only(monkeypatch, heard_runs):
    monkeypatch.setattr(select, "poll", HungUp)
    done = run(["sh", "-c", "echo out; echo err >&2"], capture_output=True)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_who_holds_an_output_after_the_child_is_read_to_the_end(heard_runs):
    command = ["sh", "-c", "{ sleep 0.1; echo late; } & echo early"]
    assert run(command, stdout=PIPE).stdout == b"early\nlate\n"


def test_a_wrong_encoding_is_found_out_before_the_program_runs(tmp_path, heard_runs):
    mark = tmp_path / "mark"
    with nothing_is_left(), heard("subprocess.Popen") as told:
        with pytest.raises(LookupError):
            run(["touch", str(mark)], stdout=PIPE, encoding="no such encoding")
        with pytest.raises(TypeError):
            run(["touch", str(mark)], stdout=PIPE, encoding=5)
    assert told == []
    assert not mark.exists()


def test_what_makes_no_text_is_told_when_the_child_has_ended(heard_runs):
    with nothing_is_left(), pytest.raises(UnicodeDecodeError):
        run(SAYS, capture_output=True, encoding="utf-8")


def test_a_default_encoding_is_warned_of_where_it_was_asked_for():
    code = (
        "import warnings\n"
        "piece.run(['true'])\n"
        "piece.check_output(['true'])\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    piece.check_output(['true'], text=True)\n"
        "print(*[(one.category.__name__, one.lineno) for one in told])\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNDEFAULTENCODING": "1"}
    head = "import importlib, os, sys\npiece = importlib.import_module(sys.argv[1])\n"
    result = run([sys.executable, "-c", head + code, PACKAGE], env=env, capture_output=True, timeout=30)
    assert result.stdout == b"('EncodingWarning', 8)\n", result.stderr


def test_a_handler_that_returns_loses_nothing_of_an_output(heard_runs):
    count = []
    before = signal.signal(signal.SIGUSR1, lambda *_: count.append(1))
    try:
        for options in ({"stdout": PIPE}, {"capture_output": True}):
            said = run(["sh", "-c", "kill -USR1 $PPID; echo x; kill -USR1 $PPID"], **options).stdout
            assert said == b"x\n"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert count


class Strike(BaseException):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Strike])
@pytest.mark.parametrize("step", ["read_little", "_read_a_lot", "pump"])
@pytest.mark.parametrize("capture_output", [False, True])
def test_who_is_struck_while_reading_ends_the_child_and_keeps_the_pipes_until_then(
    capture_output, step, kind, monkeypatch, heard_runs
):
    """A child in its moment of grace may still write, and is not ended by that."""

    def strike(*_):
        raise kind

    open_then = []

    def grace(process):
        outputs = [one for one in (process.stdout, process.stderr) if one is not None]
        open_then.extend(os.fstat(one.fileno()) for one in outputs)
        assert process.poll() is None

    target = _alone.Exchange if step == "pump" else _alone
    monkeypatch.setattr(target, step, strike)
    monkeypatch.setattr(Popen, "_give_grace", grace)
    options = {"capture_output": True} if capture_output else {"stdout": PIPE}
    # More than is read by a few reads, and it does not end by itself.
    with nothing_is_left(), pytest.raises(kind):
        run(["sh", "-c", "head -c 300000 /dev/zero; exec sleep 60"], **options)
    if heard_runs:
        assert len(open_then) == (1 + capture_output) * (kind is KeyboardInterrupt)


@pytest.mark.parametrize("grace", [None, "x", -1])
def test_what_is_no_grace_is_refused_though_there_is_nothing_to_be_gracious_about(grace):
    with pytest.raises((TypeError, ValueError), match="grace must be"):
        run(["true"], grace=grace)


def test_the_short_way_tells_auditors_the_same():
    run(["true"])
    with heard("subprocess.Popen") as told:
        run(["true", "x"])
        check_output(["true", "x"])
        stdlib_subprocess.run(["true", "x"])
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("name", ["__init__", "_execute_child", "communicate", "wait", "_wait"])
def test_a_method_that_somebody_has_replaced_is_used(name, monkeypatch, plain_runs, heard_runs):
    original, called = getattr(Popen, name), []

    def replaced(self, *args, **kwargs):
        called.append(name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Popen, name, replaced)
    plain_runs.clear()
    assert run(["true"]).returncode == 0
    assert (called, plain_runs) == ([name], [])
    assert run(["echo", "x"], capture_output=True).stdout == check_output(["echo", "x"]) == b"x\n"
    assert (called, heard_runs) == ([name] * 3, [])


def test_a_status_that_the_kernel_was_told_to_forget_counts_as_zero(plain_runs):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert run(["false"]).returncode == 0
        assert call(["false"]) == 0
        assert check_output(["sh", "-c", "echo x; exit 3"]) == b"x\n"
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("options", [{}, {"cwd": "/"}, {"capture_output": True}])
def test_what_a_sigchld_handler_raises_is_not_taken_for_a_lost_status(options):
    # As a handler does that takes every status and finds none.
    code = (
        "import signal\n"
        "def handler(*_): raise ChildProcessError('of the handler')\n"
        "piece.run(['true'])\n"
        "signal.signal(signal.SIGCHLD, handler)\n"
        "try: print(piece.run(['sh', '-c', 'exit 3'], **eval(sys.argv[2])))\n"
        "except ChildProcessError as problem: print(problem, end=' ')\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_DFL)\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('gone')\n"
    )
    result = script(code, repr(options))
    assert (result.stdout, result.returncode) == ("of the handler gone\n", 0), result.stderr


def test_whose_failed_start_is_struck_has_one_handle(monkeypatch):
    made = []

    class Struck(_handle.SoleHandle):
        __slots__ = ()

        def __init__(self, *about):
            made.append(about)
            super().__init__(*about)

        def wait(self, timeout=None):
            super().wait(timeout)
            raise KeyboardInterrupt  # when the number may be somebody else's

    monkeypatch.setattr(_handle, "SoleHandle", Struck)
    monkeypatch.setattr(_alone, "SoleHandle", Struck)
    with nothing_is_left():
        with pytest.raises(KeyboardInterrupt):
            run(["/absent/program"], cwd="/")
        handles = len(made)
        run(["true"])  # looks after what is left of that
    assert handles == 1 or not _alone.is_plain((["true"],), {})


def test_ctrl_c_leaves_no_child():
    code = (
        "piece.run(['true'])\n"
        "both = lambda command: piece.run(command, capture_output=True)\n"
        "for how in (piece.run, piece.call, piece.check_output, both):\n"
        "    try: how(['sh', '-c', 'kill -INT $PPID; exec sleep 60'])\n"
        "    except KeyboardInterrupt: print('interrupted', end=' ')\n"
        "    try: print(os.waitpid(-1, os.WNOHANG))\n"
        "    except ChildProcessError: print('gone', end=' ')\n"
        "from descriptors import open_descriptors\n"
        "print(open_descriptors())\n"
    )
    result = script(code)
    assert (result.stdout, result.stderr) == ("interrupted gone " * 4 + "[0, 1, 2]\n", "")


def test_descriptors_in_the_place_of_the_standard_three_are_kept_out_of_the_way(tmp_path):
    mark = tmp_path / "mark"
    code = (
        "piece.run(['true'])\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "code = piece.run(['sh', '-c', 'exit 3']).returncode\n"
        "said = piece.check_output(['sh', '-c', 'echo x; test ! -e /dev/fd/3'])\n"
        "both = piece.run(['sh', '-c', 'echo y; echo z >&2'], capture_output=True)\n"
        "same = piece.check_output(['sh', '-c', 'echo y; echo z >&2'], stderr=piece.STDOUT)\n"
        "told = [said, both.stdout, both.stderr, same]\n"
        "left = [fd for fd in (0, 1, 2) if os.path.exists(f'/dev/fd/{fd}')]\n"
        "try: piece.run(['/absent/program'])\n"
        "except FileNotFoundError: open(sys.argv[2], 'w').write(f'{code} {told} {left}')\n"
    )
    script(code, str(mark))
    # Whoever lists /dev/fd has a descriptor of its own, so what is looked at is each by its name.
    assert mark.read_text() == r"3 [b'x\n', b'y\n', b'z\n', b'y\nz\n'] []"


def test_pipes_between_commands_have_the_size_that_was_asked_for():
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_GETPIPE_SZ"):
        pytest.skip("no pipe can be sized here")
    ask = f"import fcntl; print(fcntl.fcntl(1, {fcntl.F_GETPIPE_SZ}))"
    first = [sys.executable, "-S", "-c", ask]
    done = (Command(first, pipesize=8192) | ["cat"]).run(capture_output=True, text=True)
    assert done.stdout == "8192\n"


def test_importing_the_package_loads_only_what_is_always_needed():
    code = "print(*sorted(name.rpartition('.')[2] for name in sys.modules if name.startswith(sys.argv[1])))"
    loaded = script(code).stdout.split()
    assert not {"_async", "_pipeline", "_child", "_start_publicly", "_lasting", "_lines"} & set(loaded)
    code = "print(*[type(getattr(piece, name)).__name__ for name in piece.__all__])"
    assert len(script(code).stdout.split()) == len(importlib.import_module(PACKAGE).__all__)
