# SPDX-License-Identifier: MIT
"""The pipe by which children say why they could not become the program, and which is kept for the next child."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess as stdlib_subprocess
import sys
import threading

import pytest
from descriptors import open_descriptors

from plait.subprocess import (
    PIPE,
    Popen,
    SubprocessError,
    _alone,
    _error_pipe,
    _in_flight,
    call,
    check_output,
    run,
)

PACKAGE = Popen.__module__
spare = _in_flight.spare


@pytest.fixture(autouse=True)
def one_is_kept():
    """Just one, of which nobody else knows anything."""
    run(["true"])
    if not _alone.is_plain((["true"],), {}):
        pytest.skip("there is no short way here")
    _error_pipe.discard(spare)
    run(["true"])
    assert len(spare) == 1
    yield
    assert len(_in_flight.error_pipes) == len(spare)
    assert all(pipe.is_intact() for pipe in spare)


def contents():
    """What is in the pipe that is kept."""
    (pipe,) = spare
    try:
        return os.read(pipe.ends[0], 100)
    except BlockingIOError:
        return b""


def test_the_same_pipe_serves_one_child_after_the_other():
    (pipe,) = spare
    before = sorted(os.listdir("/dev/fd"))
    for options in ({}, {"close_fds": False}, {"capture_output": True}, {"stdout": PIPE}):
        assert run(["sh", "-c", "exit 3"], **options).returncode == 3
        with pytest.raises(FileNotFoundError) as caught:
            run(["/absent/program"], **options)
        assert (caught.value.filename, caught.value.phase) == ("/absent/program", "exec")
        with pytest.raises(PermissionError):
            run(["/dev/null"], **options)
    assert call(["sh", "-c", "kill -9 $$"]) == -9
    assert spare == [pipe]
    assert contents() == b""
    assert sorted(os.listdir("/dev/fd")) == before


def test_a_program_may_exit_with_the_status_of_those_that_are_none():
    for code in (254, 255):
        assert run(["sh", "-c", f"exit {code}"]).returncode == code
        assert run(["sh", "-c", f"echo x; exit {code}"], capture_output=True).stdout == b"x\n"
    with pytest.raises(FileNotFoundError):
        run(["/absent/program"])


def test_a_read_that_waits_for_more_is_not_asked_for_a_report(monkeypatch):
    # Libraries of cooperating threads put such a one in the place of os.read().
    def read(fd, count):
        assert fd not in kept, "would wait for ever"
        return real(fd, count)

    real, kept = os.read, [fd for pipe in spare for fd in pipe.ends]
    monkeypatch.setattr(os, "read", read)
    assert run(["sh", "-c", "exit 255"]).returncode == 255
    assert call(["sh", "-c", "kill -9 $$"]) == -9
    with pytest.raises(FileNotFoundError):
        run(["/absent/program"])


@pytest.mark.parametrize("close_fds", [True, False])
def test_no_child_has_it(close_fds):
    listed = check_output(["ls", "/dev/fd"], close_fds=close_fds, text=True)
    mine = {str(fd) for pipe in spare for fd in pipe.ends}
    assert not mine & set(listed.split()), listed


@pytest.mark.parametrize("which", ["both", "the end to read from", "the end to write to"])
@pytest.mark.parametrize("becomes", ["nothing", "a file", "another pipe"])
def test_numbers_that_have_become_somebody_elses_are_left_alone(which, becomes, tmp_path):
    # A daemon closes all that it does not know, and opens files of its own.
    (pipe,) = spare
    before, ends = open_descriptors(), list(pipe.ends)
    numbers = {"both": ends, "the end to read from": ends[:1]}.get(which, ends[1:])
    pipes = os.fstat(ends[0]).st_ino, os.fstat(ends[1]).st_ino
    path = tmp_path / "precious"
    path.write_bytes(b"data")
    for fd in numbers:
        if becomes == "a file":
            other = os.open(path, os.O_RDWR)
        elif becomes == "another pipe":
            other, far = os.pipe()
            os.close(far)
        else:
            os.close(fd)
            continue
        os.dup2(other, fd)
        os.close(other)
    try:
        theirs = [os.fstat(fd)[:3] for fd in numbers] if becomes != "nothing" else []
        for command in (["/absent/program"], ["true"], ["/absent/program"]):
            try:
                assert run(command, close_fds=False).returncode == 0
            except FileNotFoundError:
                assert command != ["true"]
        assert path.read_bytes() == b"data"
        assert [os.fstat(fd)[:3] for fd in numbers if theirs] == theirs
        assert pipe not in spare
        # Nor is the other end left open.
        assert not set(pipes) & {os.fstat(fd).st_ino for fd in ends if fd in open_descriptors()}
    finally:
        for fd in ends:  # which a new pipe may have got
            if fd in open_descriptors():
                os.close(fd)
    assert open_descriptors() == before


def in_a_copy(function):
    """What *function* raises, or b"good", in a forked copy."""
    read_end, write_end = os.pipe()
    copy = os.fork()
    if copy == 0:
        verdict = b"?"
        try:
            function()
            verdict = b"good"
        except BaseException as problem:
            verdict = repr(problem).encode()
        finally:
            os.write(write_end, verdict)
            os._exit(0)
    os.close(write_end)
    verdict = os.read(read_end, 1000)
    os.close(read_end)
    os.waitpid(copy, 0)
    return verdict


@pytest.mark.parametrize("which", ["both", "the end to read from", "the end to write to"])
def test_a_forked_copy_keeps_the_files_that_have_got_its_numbers(which, tmp_path):
    # A server closes all that it does not know, opens its files, and then forks its workers.
    (pipe,) = spare
    ends = list(pipe.ends)
    numbers = {"both": ends, "the end to read from": ends[:1]}.get(which, ends[1:])
    other = os.open(tmp_path, os.O_RDONLY)
    for fd in numbers:
        os.dup2(other, fd)

    def look():
        for fd in ends:
            if fd in numbers:
                assert os.path.samestat(os.fstat(fd), os.stat(tmp_path))
            else:
                with pytest.raises(OSError, match="descriptor"):
                    os.fstat(fd)

    try:
        assert in_a_copy(look) == b"good"
    finally:
        for fd in [other, *numbers]:
            os.close(fd)
    run(["true"])


def test_the_ends_of_a_pipe_need_not_have_the_same_i_node(monkeypatch):
    # As on FreeBSD.
    known = os.fstat

    def fstat(fd):
        found = known(fd)
        return os.stat_result([found[0], found[1] * 2 + fd % 2, *found[2:]])

    _error_pipe.discard(spare)
    monkeypatch.setattr(os, "fstat", fstat)
    run(["true"])
    before, kept = open_descriptors(), list(spare)
    with pytest.raises(FileNotFoundError):
        run(["/absent/program"])
    assert call(["sh", "-c", "exit 255"]) == 255
    assert (spare, open_descriptors()) == (kept, before)
    _error_pipe.discard(spare)
    assert open_descriptors() == before
    monkeypatch.undo()
    run(["true"])


def test_a_file_that_has_got_a_number_before_the_first_look_is_not_taken_for_the_pipe(tmp_path, monkeypatch):
    known, theirs = os.fstat, []

    def fstat(fd):
        if not theirs:  # just in time
            theirs.append(fd)
            other = os.open(tmp_path, os.O_RDONLY)
            os.dup2(other, fd)
            os.close(other)
        return known(fd)

    _error_pipe.discard(spare)
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        with pytest.raises(OSError, match="as it was made"):
            run(["true"])
    assert os.path.samestat(os.fstat(theirs[0]), os.stat(tmp_path))
    os.close(theirs[0])
    assert open_descriptors() == before
    run(["true"])


def test_whose_last_pipe_was_taken_by_another_thread_opens_one(monkeypatch):
    class Taken(list):
        """As it may look without the GIL: there is one, and then there is none."""

        def __bool__(self):
            return True

    mine = Taken()
    monkeypatch.setattr(_error_pipe, "spare", mine)
    with pytest.raises(FileNotFoundError):
        run(["/absent/program"])
    assert len(mine) == 1
    _error_pipe.discard(mine)


def test_what_closes_it_while_a_command_runs_is_told_if_that_matters():
    (pipe,) = spare
    read_little = _alone.read_little

    def closing(*args):
        done = read_little(*args)
        for fd in pipe.ends:
            os.close(fd)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_alone, "read_little", closing)
        assert run(["echo", "x"], stdout=PIPE).stdout == b"x\n"  # which it cannot have but as the program
    assert run(["true"]).returncode == 0
    (pipe,) = spare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_alone, "read_little", closing)
        with pytest.raises(OSError, match="it is unknown whether"):
            run(["sh", "-c", "exit 255"], stdout=PIPE)
    assert run(["true"]).returncode == 0


def test_a_forked_copy_has_none_of_it_and_its_own():
    numbers = [fd for pipe in spare for fd in pipe.ends]
    inodes = [os.fstat(fd).st_ino for fd in numbers]

    def look():
        assert not spare
        assert not _in_flight.error_pipes
        for fd in numbers:
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(fd)
        with pytest.raises(FileNotFoundError):
            run(["/absent/program"])
        assert run(["true"]).returncode == 0
        assert not {os.fstat(fd).st_ino for pipe in spare for fd in pipe.ends} & set(inodes)

    assert in_a_copy(look) == b"good"
    assert [os.fstat(fd).st_ino for fd in numbers] == inodes
    with pytest.raises(FileNotFoundError):
        run(["/absent/program"])


def test_a_few_are_kept_however_many_are_used_at_a_time():
    before, count = open_descriptors(), 20
    barrier, wrong = threading.Barrier(count), []

    def work():
        barrier.wait(60)
        for turn in range(10):
            try:
                code = run(["sh", "-c", f"exit {turn}"]).returncode
                if code != turn:
                    wrong.append((turn, code))
                run([f"/absent/{turn}"])
                wrong.append(turn)
            except FileNotFoundError as absence:
                if absence.filename != f"/absent/{turn}":
                    wrong.append(absence)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert open_descriptors() == before
    assert 1 <= len(spare) <= _error_pipe._MOST
    assert len({fd for pipe in spare for fd in pipe.ends}) == 2 * len(spare)


def test_where_no_descriptor_is_left_the_one_that_is_kept_will_do():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/dev/fd")))
    with open(os.devnull) as filler:
        more = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 5, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    more.append(os.dup(filler.fileno()))
            assert run(["true"]).returncode == 0
            _error_pipe.discard(spare)
            more.append(os.dup(filler.fileno()))  # half of what was given back
            with pytest.raises(OSError, match="Too many open files"):
                run(["true"])
        finally:
            for fd in more:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_nobody_can_have_the_status_a_failure_is_told_all_the_same():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        for options in ({}, {"capture_output": True}):
            with pytest.raises(FileNotFoundError):
                run(["/absent/program"], **options)
            assert run(["sh", "-c", "exit 3"], **options).returncode == 0  # what is not known counts as that
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert run(["sh", "-c", "exit 255"]).returncode == 255
    assert contents() == b""


def test_pipes_in_the_place_of_the_standard_three_are_kept_out_of_the_way():
    code = (
        "import importlib, os, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "flight = importlib.import_module(sys.argv[1] + '._in_flight')\n"
        "piece.run(['true'])\n"
        "importlib.import_module(sys.argv[1] + '._error_pipe').discard(flight.spare)\n"
        "said = os.dup(1)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "codes = [piece.run(['sh', '-c', 'exit 3']).returncode]\n"
        "try: piece.run(['/absent/program'])\n"
        "except FileNotFoundError: codes.append('absent')\n"
        "codes += [fd > 2 for pipe in flight.spare for fd in pipe.ends]\n"
        "codes += [fd for fd in (0, 1, 2) if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "os.write(said, repr(codes).encode())\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = run([sys.executable, "-c", code, PACKAGE], capture_output=True, timeout=100, env=env, text=True)
    assert (done.stdout, done.stderr) == ("[3, 'absent', True, True]", "")


def test_a_clean_up_that_is_interrupted_closes_the_rest(monkeypatch):
    pipe = spare.pop()
    numbers, borrowed = list(pipe.ends), [pipe]

    class Struck(Exception):
        pass

    def striking(fd, identity):
        if len(pipe.ends) == 1:
            raise Struck
        return _in_flight.is_still(fd, identity)

    with monkeypatch.context() as patch:
        patch.setattr(_error_pipe, "is_still", striking)
        with pytest.raises(Struck):
            _error_pipe.discard(borrowed)
    assert pipe.ends == numbers[1:]
    _error_pipe.discard(borrowed)
    _error_pipe.discard(borrowed)
    assert borrowed == []
    for fd in numbers:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(fd)


def test_a_debugger_that_starts_the_child_itself_finds_the_pipe(monkeypatch):
    # What stands in for the interpreter's call may start none, and say why.
    piece = importlib.import_module(PACKAGE)
    monkeypatch.setattr(
        piece, "_fork_exec", lambda *args: os.write(args[13], b"OSError:d:") and 0, raising=False
    )
    with pytest.raises(PermissionError):
        run(["true"])
    monkeypatch.setattr(piece, "_fork_exec", lambda *_: 0, raising=False)
    other = os.fork() or os._exit(7)
    run(["true"])  # takes nobody else's status for that of a child which there is not
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 7
    assert spare == []  # it may have started somebody who writes later
    run(["true"])


@pytest.mark.parametrize("ours", [True, False])
def test_a_clean_up_in_the_middle_of_another_closes_nothing_twice(ours, monkeypatch):
    # A signal handler that starts something looks after what the interrupted start has left.
    borrowed, closed, again = [spare.pop()], [], [True]
    ends = list(borrowed[0].ends)
    close = os.close

    def looking(fd, identity):
        answer = ours and _in_flight.is_still(fd, identity)
        if again:
            again.clear()
            _error_pipe.discard(borrowed)
        return answer

    monkeypatch.setattr(_error_pipe, "is_still", looking)
    monkeypatch.setattr(os, "close", lambda fd: closed.append(fd) or close(fd))
    _error_pipe.discard(borrowed)
    assert (borrowed, sorted(closed)) == ([], sorted(ends) if ours else [])
    monkeypatch.undo()
    for fd in () if ours else ends:
        os.close(fd)
    run(["true"])


def test_threads_that_clean_up_the_same_do_not_meet(monkeypatch):
    # The start of another thread looks after what has failed, and an owner may be at it himself.
    borrowed, wrong = [spare.pop()], []
    inside, go_on = threading.Event(), threading.Event()

    def waiting(fd, identity):
        inside.set()
        go_on.wait(60)
        return _in_flight.is_still(fd, identity)

    def work():
        try:
            _error_pipe.discard(borrowed)
        except BaseException as problem:
            wrong.append(problem)

    monkeypatch.setattr(_error_pipe, "is_still", waiting)
    threads = [threading.Thread(target=work) for _ in range(2)]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    threads[1].join(0.02)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert (borrowed, wrong) == ([], [])
    monkeypatch.undo()
    run(["true"])


@pytest.mark.parametrize("said", [b"", b"OSError:", b"OSError:2:"])
def test_a_child_that_was_killed_while_it_reports_leaves_nothing_to_the_next(said, monkeypatch):
    def killed(*args):
        pid = os.fork()
        if pid == 0:
            # The copy has closed what its original had.
            os.write(to_write_to, said)
            os.kill(os.getpid(), signal.SIGKILL)
        return pid

    (pipe,) = spare
    to_write_to = os.dup(pipe.ends[1])
    try:
        with monkeypatch.context() as patch:
            patch.setattr(importlib.import_module(PACKAGE), "_fork_exec", killed, raising=False)
            if said:
                with pytest.raises(FileNotFoundError if said.endswith(b"2:") else SubprocessError):
                    run(["true"])
            else:
                assert run(["true"]).returncode == -signal.SIGKILL
        assert spare == [pipe]
        assert run(["sh", "-c", "exit 255"]).returncode == 255
    finally:
        os.close(to_write_to)


def script(code):
    head = (
        "import importlib, os, signal, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "flight = importlib.import_module(sys.argv[1] + '._in_flight')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", head + code, PACKAGE]
    return run(command, capture_output=True, timeout=100, env=env, text=True)


@pytest.mark.parametrize("stdout", [None, PIPE])
def test_the_copy_that_a_signal_handler_makes_has_no_child_but_its_own(stdout):
    code = (
        "mine, word = os.pipe(); os.dup2(mine, 0)\n"
        "piece.run(['true']); piece.run(['true'])\n"
        "copies = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: copies.append(os.fork()))\n"
        # Which goes on when the copy has said what it has found.
        "command = ['sh', '-c', 'kill -USR1 $PPID; read x; exit 7']\n"
        "try: code = piece.run(command, **OPTIONS).returncode\n"
        "except OSError as closed: code = closed.strerror\n"
        "if copies == [0]:\n"
        "    codes = [code, piece.run(['sh', '-c', 'exit 5']).returncode]\n"
        "    os.write(1, f'copy {codes} '.encode())\n"
        "    os.write(word, b'x\\n'); os._exit(0)\n"
        "os.waitpid(copies[0], 0)\n"
        "os.write(1, f'original {code}'.encode())\n"
    )
    done = script(code.replace("OPTIONS", repr({"stdout": stdout} if stdout else {})))
    code = "'Bad file descriptor'" if stdout else "0"  # its pipe, or the status, is not for the copy
    assert (done.stdout, done.stderr) == (f"copy [{code}, 5] original 7", "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs fork() without the interpreter")
def test_a_copy_that_was_made_in_c_does_not_share_it():
    code = (
        "import ctypes\n"
        "piece.run(['true']); piece.run(['true'])\n"
        "def kept(): return {os.fstat(fd).st_ino for pipe in flight.spare for fd in pipe.ends}\n"
        "before, fds = kept(), len(os.listdir('/dev/fd'))\n"
        "copy = ctypes.PyDLL(None).fork()\n"
        "if copy: os.waitpid(copy, 0)\n"
        "codes = [piece.run(['sh', '-c', 'exit 255']).returncode]\n"
        "try: piece.run(['/absent/program'])\n"
        "except FileNotFoundError: codes.append('absent')\n"
        "codes += [before == kept(), len(os.listdir('/dev/fd')) - fds]\n"
        "os.write(1, repr(codes).encode())\n"
        "os._exit(0)\n"
    )
    done = script(code)
    assert (done.stdout, done.stderr) == ("[255, 'absent', False, 0][255, 'absent', True, 0]", "")


def test_a_sub_interpreter_leaves_none_when_it_ends():
    pytest.importorskip("_interpreters")
    code = (
        "import _interpreters\n"
        "one = _interpreters.create('legacy')\n"
        "before = len(os.listdir('/dev/fd'))\n"
        "_interpreters.run_string(one, f'import importlib; run = importlib.import_module({sys.argv[1]!r}).run\\n'\n"
        "    'for _ in range(2): run([\"true\"])')\n"
        "during = len(os.listdir('/dev/fd'))\n"
        "_interpreters.destroy(one)\n"
        "print(during - before, len(os.listdir('/dev/fd')) - before)\n"
    )
    done = script(code)
    assert (done.stdout, done.stderr) == ("2 0\n", "")


def test_commands_can_be_run_after_the_last_one_was_closed():
    code = (
        "import atexit\n"
        "class Late:\n"
        "    def __del__(self, run=piece.run, write=os.write): write(1, b'%d ' % run(['sh', '-c', 'exit 5']).returncode)\n"
        "late = Late()\n"
        "piece.run(['true'])\n"
        "atexit.register(lambda: os.write(1, b'%d ' % piece.run(['sh', '-c', 'exit 4']).returncode))\n"
    )
    done = script(code)
    assert (done.stdout, done.stderr) in (("4 5 ", ""), ("4 ", ""))  # PyPy deletes nothing in the end


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("too long", errno.E2BIG),
        ("no program", errno.ENOEXEC),
        ("no folder", errno.ENOTDIR),
        ("in circles", errno.ELOOP),
    ],
)
def test_what_the_kernel_refuses_is_told(kind, number, tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"no program\n")
    program.chmod(0o755)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    command = {
        "too long": ["true", "x" * 4_000_000],
        "no program": [str(program)],
        "no folder": [str(program / "x")],
        "in circles": [str(loop)],
    }[kind]
    for options in ({}, {"stdout": PIPE}):
        with pytest.raises(OSError, match=os.strerror(number)) as ours:
            run(command, **options)
        with pytest.raises(OSError, match=os.strerror(number)) as theirs:
            stdlib_subprocess.run(command, **options)
        assert repr(ours.value) == repr(theirs.value)
        assert (ours.value.filename, ours.value.phase) == (command[0], "exec")
    assert contents() == b""
