# SPDX-License-Identifier: MIT
"""The pipe by which children say why they could not become the program, and which is kept for the next child."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading

import pytest
from descriptors import open_descriptors

from plait.subprocess import PIPE, Popen, _alone, _error_pipe, _in_flight, call, check_output, run

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
    numbers = {"both": pipe.ends, "the end to read from": pipe.ends[:1]}.get(which, pipe.ends[1:])
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
        theirs = [os.fstat(fd) for fd in numbers] if becomes != "nothing" else []
        for command in (["/absent/program"], ["true"], ["/absent/program"]):
            try:
                assert run(command, close_fds=False).returncode == 0
            except FileNotFoundError:
                assert command != ["true"]
        assert path.read_bytes() == b"data"
        assert [os.fstat(fd) for fd in numbers if theirs] == theirs
        assert pipe not in spare
    finally:
        for fd in pipe.ends:  # which a new pipe may have got
            if fd in open_descriptors():
                os.close(fd)


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
    read_end, write_end = os.pipe()
    copy = os.fork()
    if copy == 0:
        verdict = b"?"
        try:
            assert not spare
            assert not _in_flight.error_pipes
            for fd in numbers:
                with pytest.raises(OSError, match="descriptor"):
                    os.fstat(fd)
            with pytest.raises(FileNotFoundError):
                run(["/absent/program"])
            assert run(["true"]).returncode == 0
            assert not {os.fstat(fd).st_ino for pipe in spare for fd in pipe.ends} & set(inodes)
            verdict = b"good"
        except BaseException as problem:
            verdict = repr(problem).encode()
        finally:
            os.write(write_end, verdict)
            os._exit(0)
    os.close(write_end)
    assert os.read(read_end, 1000) == b"good"
    os.close(read_end)
    os.waitpid(copy, 0)
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
    # Each thread may have found room that another one took in the same moment.
    assert 1 <= len(spare) <= _error_pipe._MOST + count
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

    def closing_one(_key, ends, _listed):
        os.close(ends.pop())
        raise Struck

    with monkeypatch.context() as patch:
        patch.setattr(_error_pipe, "close_all", closing_one)
        with pytest.raises(Struck):
            _error_pipe.discard(borrowed)
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
