# SPDX-License-Identifier: MIT
"""What becomes of the arguments of Popen in the child, whichever way it is started."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
import weakref
from pathlib import Path

import pytest
from descriptors import open_descriptors

from plait.subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    Popen,
    SubprocessError,
    _in_flight,
    _platform,
    _start,
    check_output,
    run,
)

# The "fork" starter forks while pytest-timeout's thread runs; newer interpreters warn about that.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

PYTHON = [sys.executable, "-I", "-S", "-c"]
OPEN_DESCRIPTORS = (
    "import os, json\n"
    "listed = [int(name) for name in os.listdir('/proc/self/fd')]\n"
    "def is_open(fd):\n"
    "    try: os.fstat(fd)\n"
    "    except OSError: return False\n"
    "    return True\n"
    "print(json.dumps(sorted(fd for fd in listed if is_open(fd))))\n"
)
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


@pytest.fixture(params=["fork_exec", "posix_spawn+fork", "fork"], autouse=True)
def starter(request, monkeypatch):
    """Every test runs with the private call and with public calls alone."""
    names = request.param.split("+")
    monkeypatch.setattr(_start, "order", names)
    if names == ["fork_exec"] and not _platform._shape():
        pytest.skip("this interpreter has no fork_exec that we know")
    return request.param


def descriptors_of_child(**options):
    return json.loads(run([*PYTHON, OPEN_DESCRIPTORS], stdout=PIPE, check=True, **options).stdout)


@pytest.mark.parametrize(
    "options",
    [
        {"user": 2**64},
        {"group": 2**64},
        {"extra_groups": [2**64]},
        {"umask": 2**64},
        {"umask": 2**32},
        {"process_group": 2**40},
    ],
    ids=str,
)
def test_numbers_that_are_too_large_are_refused(options, starter):
    if starter == "fork_exec" and ("process_group" in options or options == {"umask": 2**32}):
        pytest.skip("some interpreters take what is left of it in 32 bits")
    with pytest.raises(ValueError if "extra_groups" in options else OverflowError):
        Popen(["true"], **options)


def test_the_environment_is_that_of_the_process_not_that_of_os_environ():
    code = "import os; os.putenv('GIVEN', 'yes')"
    script = (
        "import importlib, sys, os\n"
        "importlib.import_module(sys.argv[1] + '._start').order[:] = sys.argv[2].split('+')\n"
        f"{code}\n"
        "print(importlib.import_module(sys.argv[1]).run(['env'], stdout=-1, text=True).stdout)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", script, Popen.__module__]
    said = run([*command, "+".join(_start.order)], stdout=PIPE, text=True, env=env).stdout
    assert "GIVEN=yes" in said.splitlines()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs to count references")
def test_the_start_leaves_no_cycle_that_keeps_the_popen(monkeypatch):
    # Not in the first folder of the path: what the first attempt raised must not stay anywhere.
    monkeypatch.setenv("PATH", "/no/such/folder:" + os.environ["PATH"])
    gc.disable()
    try:
        process = Popen(["true"])
        process.wait()
        gone = weakref.ref(process)
        del process
        assert gone() is None
    finally:
        gc.enable()


def test_a_program_that_is_nowhere_costs_no_fork(starter, monkeypatch):
    if starter != "fork":
        pytest.skip("is about fork")
    monkeypatch.setattr(os, "fork", None)
    with pytest.raises(FileNotFoundError) as missing:
        Popen(["no-such-program"])
    assert missing.value.filename == "no-such-program"


def test_arguments_arrive_unchanged():
    args = ["", "a b", "ü\udcff", "'\"\\", "\n"]
    out = run(
        [
            *PYTHON,
            "import sys, os; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))",
            *args,
        ],
        stdout=PIPE,
    ).stdout
    assert out == b"|".join(map(os.fsencode, args))


def test_a_string_is_the_name_of_a_program():
    assert run("true").returncode == 0
    with pytest.raises(FileNotFoundError):
        run("true --with-an-option")


def test_a_path_is_the_name_of_a_program():
    assert run(Path("/bin/sh"), stdin=DEVNULL).returncode == 0


def test_bytes_and_paths_may_be_arguments():
    assert run([b"/bin/echo", Path("/x"), "y"], stdout=PIPE).stdout == b"/x y\n"


def test_shell_runs_a_command_line():
    assert run("echo $((1 + 2)) | tr 3 4; exit 5", shell=True, stdout=PIPE).stdout == b"4\n"


def test_shell_gives_further_items_to_the_shell():
    assert run(["echo $0 $1", "a", "b"], shell=True, stdout=PIPE).stdout == b"a b\n"


def test_shell_refuses_a_path():
    with pytest.raises(TypeError):
        run(Path("/bin/true"), shell=True)


def test_executable_replaces_the_program_but_not_its_name():
    out = run(["nobody", "-c", "echo $0"], executable="/bin/sh", stdout=PIPE).stdout
    assert out == b"nobody\n"


def test_executable_replaces_the_shell(tmp_path):
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "mine: $2"\n')
    shell.chmod(0o755)
    assert run("xyz", shell=True, executable=str(shell), stdout=PIPE).stdout == b"mine: xyz\n"


def test_what_shlex_makes_of_a_command_line_never_passes_through_a_shell(tmp_path):
    line = f"printf '%s|' $HOME '*' \"a;b\" `id` $(id) > {tmp_path}/said ; echo & x"
    words = shlex.split(line)
    assert check_output(words, text=True).split("|")[:-1] == words[2:]
    assert check_output(words, cwd=tmp_path, close_fds=False, text=True).split("|")[:-1] == words[2:]
    assert not os.listdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        run(line)  # the name of a program


@pytest.mark.skipif(not hasattr(fcntl, "F_GETPIPE_SZ"), reason="the size of a pipe is as it is")
def test_pipes_have_the_size_that_was_asked_for():
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE, pipesize=8192) as process:
        for stream in (process.stdin, process.stdout, process.stderr):
            assert fcntl.fcntl(stream.fileno(), fcntl.F_GETPIPE_SZ) == 8192


def test_cwd_is_entered_before_the_program_is_looked_up(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\npwd -P\n")
    program.chmod(0o755)
    assert run(["./program"], cwd=tmp_path, stdout=PIPE).stdout == os.fsencode(tmp_path.resolve()) + b"\n"


def test_env_replaces_the_environment():
    out = run([*PYTHON, "import os; print(sorted(os.environ))"], env={"ONLY": "this"}, stdout=PIPE).stdout
    assert b"ONLY" in out
    assert b"HOME" not in out


def test_env_decides_where_a_program_is_found(tmp_path):
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert run(["only-here"], env={"PATH": f"/nowhere:{tmp_path}"}, stdout=PIPE).stdout == b"found\n"
    with pytest.raises(FileNotFoundError):
        run(["only-here"])


def test_a_change_of_our_path_counts_at_once(tmp_path, monkeypatch):
    usual = os.environ["PATH"]
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tool").write_text(f"#!/bin/sh\necho {number}\n")
        (folder / "tool").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{usual}")
        for _ in range(2):
            assert run(["tool"], stdout=PIPE).stdout == b"%d\n" % number
    monkeypatch.setenv("PATH", usual)
    with pytest.raises(FileNotFoundError):
        run(["tool"])


def test_env_refuses_a_name_with_an_equals_sign():
    with pytest.raises(ValueError, match="A=B"):
        run(["true"], env={"A=B": "c"})


@pytest.mark.parametrize(
    "options",
    [{"args": ["true", "a\0b"]}, {"args": ["true"], "env": {"A": "b\0c"}}, {"args": ["true"], "cwd": "/\0"}],
)
def test_null_characters_are_refused_without_a_leak(options):
    before = open_descriptors()
    with pytest.raises(ValueError, match="null"):
        run(**options)
    assert open_descriptors() == before


def test_a_number_to_pass_on_that_is_not_open_yet_does_not_hold_up_the_start():
    # The pipe that reports on exec may get just this number; the child must close it all the same.
    lowest = os.dup(0)
    os.close(lowest)
    for fd in range(lowest, lowest + 5):
        try:
            process = Popen(["sleep", "60"], pass_fds=[fd])
        except OSError:
            continue  # nobody had the number
        process.kill()
        process.wait()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("spare", range(6))  # six are for the pipes
def test_too_few_descriptors_are_an_error_that_keeps_none(spare):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    blockers = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 20, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                blockers.append(os.dup(blockers[0]))
        for _ in range(spare):
            os.close(blockers.pop())
        with pytest.raises(OSError, match="Too many open files"):
            Popen(["true"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
        for fd in blockers:
            os.close(fd)
        blockers.clear()
        assert open_descriptors() == before
        assert run(["cat"], input=b"x", stdout=PIPE).stdout == b"x"
    finally:
        for fd in blockers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("which", ["stdin", "stdout", "stderr"])
def test_devnull_swallows_and_gives_nothing(which):
    code = {
        "stdin": "import sys; sys.exit(len(sys.stdin.read()))",
        "stdout": "print(1)",
        "stderr": "import os; os.write(2, b'x')",
    }
    assert run([*PYTHON, code[which]], **{which: DEVNULL}).returncode == 0


def test_a_file_object_or_its_number_can_be_a_stream():
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as other:
        file.write(b"abc")
        file.seek(0)
        run(["cat"], stdin=file, stdout=other.fileno())
        other.seek(0)
        assert other.read() == b"abc"


def test_stderr_can_go_where_stdout_goes():
    out = run("echo one; echo two >&2", shell=True, stdout=PIPE, stderr=STDOUT).stdout
    assert out == b"one\ntwo\n"


def test_stdout_and_stderr_can_be_exchanged():
    code = (
        "import importlib, sys\n"
        "piece, order = importlib.import_module(sys.argv[1]), sys.argv[2].split('+')\n"
        "importlib.import_module(sys.argv[1] + '._start').order[:] = order\n"
        "piece.run('echo out; echo err >&2', shell=True, stdout=2, stderr=1)\n"
    )
    package = run.__module__
    result = run(
        [sys.executable, "-c", code, package, "+".join(_start.order)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (result.stdout, result.stderr) == (b"err\n", b"out\n")


@needs_proc
def test_children_work_when_the_standard_descriptors_are_closed():
    code = (
        "import importlib, os, sys\n"
        "piece, order = importlib.import_module(sys.argv[1]), sys.argv[2].split('+')\n"
        "importlib.import_module(sys.argv[1] + '._start').order[:] = order\n"
        "keep = os.dup(1)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "p = piece.run(['sh', '-c', 'cat; echo err >&2'], input=b'in', capture_output=True)\n"
        "os.write(keep, repr((p.stdout, p.stderr, p.returncode)).encode())\n"
    )
    package = run.__module__
    result = run(
        [sys.executable, "-c", code, package, "+".join(_start.order)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stdout == b"(b'in', b'err\\n', 0)", result


@needs_proc
def test_close_fds_closes_what_was_made_inheritable():
    fd = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        assert fd not in descriptors_of_child()
        assert fd in descriptors_of_child(close_fds=False)
    finally:
        os.close(fd)


@needs_proc
def test_pass_fds_hands_over_exactly_these():
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    try:
        assert descriptors_of_child(pass_fds=(fds[2], fds[0])) == sorted([0, 1, 2, fds[0], fds[2]])
    finally:
        for fd in fds:
            os.close(fd)
    with pytest.warns(RuntimeWarning, match="pass_fds"):
        run(["true"], pass_fds=[2], close_fds=False)


@needs_proc
def test_no_descriptor_leaks_into_children_started_by_20_threads_at_once():
    # close_fds=False leans on close-on-exec alone; what whoever started the tests left inheritable goes through.
    inherited = run(["ls", "/proc/self/fd"], stdout=PIPE, close_fds=False).stdout.split()
    expected = {
        True: {(b"0", b"1", b"2", b"3")},
        False: {tuple(inherited)},
    }  # 3 is what ls reads the directory with
    found = {True: [], False: []}
    barrier = threading.Barrier(20)
    errors = []

    def work():
        barrier.wait()
        try:
            for close_fds in (True, False):
                result = run(["ls", "/proc/self/fd"], input=b"x", capture_output=True, close_fds=close_fds)
                found[close_fds].append(tuple(result.stdout.split()))
        except BaseException as problem:
            errors.append(problem)

    before = open_descriptors()
    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found[True]) == len(found[False]) == 20
    assert {key: set(names) for key, names in found.items()} == expected
    assert open_descriptors() == before


def test_restore_signals_makes_sigpipe_deadly_again():
    code = "import signal; print(signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN)"
    # A fresh interpreter ignores SIGPIPE itself, so ask the kernel what it was started with.
    ask = ["grep", "SigIgn", "/proc/self/status"]
    restored = int(run(ask, stdout=PIPE).stdout.split()[1], 16)
    inherited = int(run(ask, stdout=PIPE, restore_signals=False).stdout.split()[1], 16)
    bit = 1 << (signal.SIGPIPE - 1)
    assert not restored & bit
    assert inherited & bit
    assert run([*PYTHON, code], stdout=PIPE).stdout == b"True\n"


def test_the_signal_mask_is_passed_on():
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        line = run(["grep", "SigBlk", "/proc/self/status"], stdout=PIPE).stdout
        assert int(line.split()[1], 16) == 1 << (signal.SIGUSR1 - 1)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == old | {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def test_start_new_session_leaves_ours():
    out = run(
        [*PYTHON, "import os; print(os.getsid(0) == os.getpid())"], stdout=PIPE, start_new_session=True
    ).stdout
    assert out == b"True\n"


def test_process_group_is_set(starter):
    if starter == "fork_exec" and _platform._shape() == 21:
        pytest.skip("fork_exec with 21 arguments knows no process groups; the public calls do")
    out = run(
        [*PYTHON, "import os; print(os.getpgid(0) == os.getpid())"], stdout=PIPE, process_group=0
    ).stdout
    assert out == b"True\n"


def test_umask_is_set():
    assert run("umask", shell=True, umask=0o027, stdout=PIPE).stdout == b"0027\n"


def test_preexec_fn_runs_in_the_child():
    out = run(
        [*PYTHON, "import os; print(os.getpgid(0) == os.getpid())"], stdout=PIPE, preexec_fn=os.setpgrp
    ).stdout
    assert out == b"True\n"
    with pytest.raises(SubprocessError, match="preexec_fn"):
        run(["true"], preexec_fn=lambda: 1 / 0)


@pytest.mark.parametrize("others", [None, PIPE])
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_number_that_is_not_open_is_not_taken_for_a_pipe_of_the_start(name, others):
    streams = {**dict.fromkeys(("stdin", "stdout", "stderr"), others), name: os.dup(0)}
    os.close(streams[name])  # the first number that the start would get
    with pytest.raises(OSError, match=f"descriptor {streams[name]}"):
        Popen(["true"], **streams)


def test_a_variable_without_a_name_is_passed_on_or_refused_here():
    try:
        out = run(["env"], env={**os.environ, "": "x"}, stdout=PIPE).stdout
    except ValueError as error:
        assert "illegal environment variable name" in str(error)  # noqa: PT017 - as the public calls say it
    else:
        assert b"=x" in out.splitlines()


def test_unknown_users_are_refused_before_anything_starts():
    with pytest.raises(KeyError):
        run(["true"], user="no such user here")
    with pytest.raises(ValueError, match="negative"):
        run(["true"], group=-5)


def test_a_missing_program_is_named():
    with pytest.raises(FileNotFoundError) as caught:
        run(["no-such-program", "x"])
    assert caught.value.filename == "no-such-program"


def test_a_missing_directory_is_named_rather_than_the_program():
    with pytest.raises(FileNotFoundError) as caught:
        run(["true"], cwd="/no/such/directory")
    assert caught.value.filename == "/no/such/directory"


def test_a_file_that_cannot_be_run_is_named(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    with pytest.raises(PermissionError) as caught:
        run([str(plain)])
    assert caught.value.filename == str(plain)
    plain.chmod(0o755)
    with pytest.raises(OSError, match="format") as caught:
        run([str(plain)])


def test_a_failed_start_leaves_neither_zombie_nor_descriptor():
    before = open_descriptors()
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            Popen(["no-such-program"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"stdin": STDOUT}, ValueError),
        ({"stdout": STDOUT}, ValueError),
        ({"stdout": -9}, OSError),
        ({"bufsize": "x"}, TypeError),
        ({"pipesize": "x"}, TypeError),
        ({"text": True, "universal_newlines": False}, SubprocessError),
        ({"startupinfo": object()}, ValueError),
        ({"creationflags": 1}, ValueError),
        ({"stdout": "name"}, AttributeError),
    ],
)
def test_misuse_is_refused_without_a_leak(options, error):
    before = open_descriptors()
    with pytest.raises(error):
        Popen(["true"], **{"stdin": PIPE, **options})
    assert open_descriptors() == before


def test_a_process_forked_during_a_start_keeps_none_of_its_pipes():
    # As multiprocessing's fork does in another thread: the copy must not hold the child's end open.
    read_end, write_end = os.pipe()
    _in_flight.in_flight[0] = [write_end]
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.read(go_read, 1)  # until the parent is done
        os._exit(0)
    try:
        del _in_flight.in_flight[0]
        os.close(write_end)
        assert os.read(read_end, 1) == b""
    finally:
        os.close(read_end)
        os.close(go_write)
        os.close(go_read)
        os.waitpid(pid, 0)


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="no posix_spawn here")
@pytest.mark.parametrize("env", [None, {"A": "1"}])
def test_a_group_that_cannot_be_had_is_told_whoever_starts(env, starter):
    if starter == "fork_exec" and sys.version_info < (3, 11):
        pytest.skip("it knows of no groups there")
    with pytest.raises(PermissionError) as caught:
        run(["/bin/sh", "-c", "exit"], process_group=1, close_fds=False, env=env)
    assert caught.value.phase == "setpgid"
