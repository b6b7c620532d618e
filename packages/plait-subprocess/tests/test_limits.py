# SPDX-License-Identifier: MIT
"""What a child is made to be before it becomes its program, and what its parent hears if that fails."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import signal
import sys
import threading
import time
import weakref

import pytest
from descriptors import open_descriptors
from patience import SOON, until

from plait.subprocess import (
    PIPE,
    Popen,
    SubprocessError,
    TimeoutExpired,
    _child,
    _in_flight,
    _lasting,
    _platform,
    _start,
    run,
)

resource = pytest.importorskip("resource")

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
PACKAGE = Popen.__module__
since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for signals at more places")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie is Linux's")


@pytest.fixture(params=["fork_exec", "fork"], autouse=True)
def starter(request, monkeypatch):
    """With the private call and with public ones."""
    if request.param == "fork":
        monkeypatch.setattr(_start, "order", ["fork"])
    elif not _platform._shape():
        pytest.skip("this interpreter has no fork_exec that we know")
    return request.param


def script(code, *arguments, **options):
    """Start *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    prelude = (
        "import importlib, os, signal, sys, threading, time\npiece = importlib.import_module(sys.argv[1])\n"
    )
    return Popen(
        [sys.executable, "-c", prelude + code, PACKAGE, *arguments],
        env=env,
        stdout=PIPE,
        text=True,
        **options,
    )


def ends(pid):
    return until(lambda: has_ended(pid))


def has_ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the second: it went while it was read
        return True


def test_limits_and_niceness_hold_in_the_program():
    limits = {
        resource.RLIMIT_NOFILE: (64, 128),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: (1 << 20, 1 << 20),
    }
    code = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; ulimit -Hf; nice"
    said = run(code, shell=True, rlimits=limits, nice=3, stdout=PIPE, text=True).stdout.split()
    assert said[:4] == ["64", "128", "0", "0"]
    assert int(said[4]) * 512 == 1 << 20 or int(said[4]) * 1024 == 1 << 20
    assert int(said[5]) == os.nice(0) + 3
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 64


def test_few_descriptors_do_not_keep_the_others_open():
    # All numbers below the limit are taken, so the child has none left to list the rest with.
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
    try:
        for fd in spare:
            os.set_inheritable(fd, True)
        code = f"for n in {' '.join(map(str, spare))}; do [ -e /proc/self/fd/$n ] && echo $n; done; true"
        limits = {resource.RLIMIT_NOFILE: (16, 16)}
        assert run(["/bin/sh", "-c", code], rlimits=limits, stdout=PIPE).stdout == b""
    finally:
        for fd in spare:
            os.close(fd)


def test_preexec_fn_has_its_descriptors_whatever_the_limits():
    read_end, write_end = os.pipe()
    inherited = os.dup(write_end)
    os.set_inheritable(inherited, True)
    try:
        limits = {resource.RLIMIT_NOFILE: (inherited, inherited)}
        for options in ({"nice": 1}, {"rlimits": limits}, {"spawn_timeout": 20}):
            code = ["/bin/sh", "-c", f"[ ! -e /proc/self/fd/{inherited} ]"]
            assert run(code, preexec_fn=lambda: os.write(write_end, b"x"), **options).returncode == 0
            assert os.read(read_end, 9) == b"x"
    finally:
        for fd in (read_end, write_end, inherited):
            os.close(fd)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may raise limits, and become someone else")
def test_limits_are_raised_before_the_user_is_changed():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    wanted = (1 << 30) if hard == resource.RLIM_INFINITY else hard + 1024
    limits = {resource.RLIMIT_CORE: wanted}
    code = ["/bin/sh", "-c", "id -u; grep -i core /proc/self/limits; nice"]
    said = run(code, user=65534, rlimits=limits, nice=-1, stdout=PIPE, text=True).stdout.split()
    assert said[0] == "65534"
    assert str(wanted) in said
    assert int(said[-1]) == os.nice(0) - 1


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"rlimits": {resource.RLIMIT_CORE: (2, 1)}}, ValueError, r"RLIMIT_CORE.*more than"),
        ({"rlimits": {resource.RLIMIT_CORE: (1, 2, 3)}}, ValueError, r"RLIMIT_CORE.*pair"),
        ({"rlimits": {resource.RLIMIT_CORE: "all"}}, ValueError, "RLIMIT_CORE"),
        ({"rlimits": {987654: 1}}, ValueError, "987654 is no resource"),
        ({"nice": "much"}, TypeError, "nice"),
        ({"spawn_timeout": float("nan")}, ValueError, "nan"),
    ],
)
def test_bad_limits_are_refused_before_anything_starts(options, error, match):
    before = open_descriptors()
    with pytest.raises(error, match=match):
        Popen(["true"], stdin=PIPE, **options)
    assert open_descriptors() == before


def test_the_tie_is_refused_where_there_is_none(monkeypatch):
    if sys.platform == "linux":
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Elsewhere", "", "", "", "")))
    with pytest.raises(ValueError, match="only Linux has"):
        Popen(["true"], die_with_parent=True)


@on_linux
@pytest.mark.parametrize("end", ["killed", "exit", "os._exit"])
def test_the_child_ends_with_its_parent(end, starter):
    code = (
        "importlib.import_module(sys.argv[1] + '._start').order[:] = [sys.argv[3]]\n"
        "child = piece.Popen(['sleep', '60'], die_with_parent=True)\n"
        "print(child.pid, flush=True)\n"
        "if sys.argv[2] == 'os._exit': os._exit(0)\n"
        "if sys.argv[2] == 'killed': time.sleep(60)\n"
        "child.returncode = 0\n"
    )
    with script(code, end, starter) as parent:
        pid = int(parent.stdout.readline())
        if end == "killed":
            parent.kill()
        parent.wait(20)
        assert ends(pid)


@on_linux
@pytest.mark.parametrize("user", [None, 65534])
def test_the_child_outlives_the_thread_that_started_it(user):
    if user is not None and os.getuid() != 0:
        pytest.skip("only root can become someone else")
    children = []
    for _ in range(3):
        thread = threading.Thread(
            target=lambda: children.append(Popen(["cat"], stdin=PIPE, die_with_parent=True, user=user))
        )
        thread.start()
        thread.join()
    for child in children:
        with pytest.raises(TimeoutExpired):
            child.wait(0.1)
        child.stdin.close()
        assert child.wait(SOON) == 0


@on_linux
def test_a_lock_of_the_standard_threading_that_another_thread_holds_does_not_stop_a_tied_child():
    code = (
        "lock = getattr(threading, '_shutdown_locks_lock', None) or threading.Lock()\n"  # gone in 3.13
        "with lock:\n"
        "    print(piece.run(['true'], die_with_parent=True, spawn_timeout=20).returncode)\n"
    )
    with script(code) as process:
        assert process.communicate(timeout=30) == ("0\n", None)


@on_linux
def test_a_forked_copy_ties_its_children_to_itself():
    read_end, write_end = os.pipe()
    run(["true"], die_with_parent=True)
    pid = os.fork()
    if not pid:
        try:
            child = Popen(["sleep", "60"], die_with_parent=True)
            os.write(write_end, b"%d" % child.pid)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with open(read_end) as pipe:
        assert ends(int(pipe.read()))


@on_linux
def test_tied_children_inherit_the_signal_mask_of_who_started_them():
    run(["true"], die_with_parent=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        line = run(["grep", "SigBlk", "/proc/self/status"], stdout=PIPE, die_with_parent=True).stdout
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert int(line.split()[1], 16) == 1 << (signal.SIGUSR1 - 1)


@on_linux
def test_a_handler_that_raises_meanwhile_leaves_nothing_behind():
    # The lasting thread is held in the middle of the start, the signal strikes the waiting caller, the start goes on.
    begun, go_on, caller = threading.Event(), threading.Event(), threading.get_ident()
    before = open_descriptors()

    def start(request):
        begun.set()
        assert go_on.wait(20)
        return original(request)

    def strike(*_):
        if not go_on.is_set():  # two of them may have been on their way
            go_on.set()
            raise InterruptedError("for the test")

    def when_begun():
        begun.wait(20)
        while not go_on.wait(0.05):  # one that strikes just before the caller sleeps does not wake it
            signal.pthread_kill(caller, signal.SIGUSR1)

    original, _start._start = _start._start, start
    handler = signal.signal(signal.SIGUSR1, strike)
    thread = threading.Thread(target=when_begun)
    try:
        thread.start()
        with pytest.raises(InterruptedError, match="for the test"):
            Popen(["sleep", "60"], stdout=PIPE, die_with_parent=True)
    finally:
        _start._start = original
        thread.join()
        signal.signal(signal.SIGUSR1, handler)
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# The lasting thread is held in the middle of the start, all the signals strike the waiting caller, the start goes on.
STRUCK = r"""
import gc
from descriptors import open_descriptors
starting, lasting = (importlib.import_module(sys.argv[1] + name) for name in ("._start", "._lasting"))
class Struck(BaseException): pass
piece.run(["true"], die_with_parent=True)  # loads what is needed
begun, go_on, caller = threading.Event(), threading.Event(), threading.get_ident()
numbers, seen = range(signal.SIGRTMIN, signal.SIGRTMIN + int(sys.argv[2])), set()
def start(request):
    begun.set()
    go_on.wait(20)
    time.sleep(0.02)
    return _start(request)
_start, starting._start = starting._start, start
def is_in_the_start(frame):
    while frame and frame.f_code is not piece.Popen.__init__.__code__: frame = frame.f_back
    return frame
def strike(number, frame):
    if number not in seen and is_in_the_start(frame):
        seen.add(number)
        if len(seen) == len(numbers): go_on.set()
        raise Struck
def when_begun():
    begun.wait(20)
    while not go_on.wait(0.05):
        for number in numbers: signal.pthread_kill(caller, number)
for number in numbers: signal.signal(number, strike)
before = open_descriptors()
thread = threading.Thread(target=when_begun)
thread.start()
try: piece.Popen(["sleep", "60"], stdin=piece.PIPE, stdout=piece.PIPE, die_with_parent=True)
except Struck: pass
go_on.set()
if len(numbers) > 2: lasting.call_from_lasting_thread(int)  # which comes after
thread.join()
gc.collect()
print(open_descriptors() == before, importlib.import_module(sys.argv[1] + "._in_flight").in_flight)
try: print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError: print("none")
"""


@on_linux
@pytest.mark.parametrize("signals", [2, 4, pytest.param(6, marks=since_311)])
def test_handlers_that_raise_one_upon_the_other_leave_nothing_behind_either(signals):
    # Two are waited for; more of them may drive the caller out before the start is done.
    with script(STRUCK, str(signals)) as process:
        assert process.stdout.read() == "True {}\nnone\n"


@on_linux
def test_tied_children_inherit_the_niceness_and_the_processors_of_who_started_them():
    code = (
        "def say(**options): print(piece.run(['nice'], stdout=piece.PIPE, text=True, die_with_parent=True, **options)"
        ".stdout.strip(), end=' ')\n"
        "def count(): return len(os.sched_getaffinity(0))\n"
        "say(); os.nice(3); say(); say(nice=2); say()\n"
        "allowed = os.sched_getaffinity(0)\n"
        "os.sched_setaffinity(0, [min(allowed)])\n"
        "line = ['grep', 'Cpus_allowed_list', '/proc/self/status']\n"
        "print(piece.run(line, stdout=piece.PIPE, text=True, die_with_parent=True).stdout.split()[1] == str(min(allowed)))\n"
    )
    first = os.nice(0)
    expected = [str(min(first + more, 19)) for more in (0, 3, 5, 3)]
    with script(code) as process:
        assert process.stdout.read().split() == [*expected, "True"]


@pytest.mark.parametrize("options", [{"nice": 1}, {"preexec_fn": int}])
def test_a_copy_that_a_handler_forks_just_before_the_child_holds_up_nothing(options, monkeypatch):
    # A handler may strike on the way to the call that holds signals back.
    read_end, write_end = os.pipe()
    original, copies = signal.pthread_sigmask, []

    def fork_before(*args):
        if not copies and args[1]:
            copies.append(os.fork())
            if not copies[0]:
                os.close(write_end)
                os.read(read_end, 1)
                os._exit(0)
        return original(*args)

    monkeypatch.setattr(signal, "pthread_sigmask", fork_before)
    try:
        with Popen(["cat"], stdin=PIPE, stdout=PIPE, spawn_timeout=SOON, **options) as process:
            process.stdin.close()
            assert process.stdout.read() == b""
        assert len(copies) == 1
    finally:
        os.close(read_end)
        os.close(write_end)
        for pid in copies:
            os.waitpid(pid, 0)


def test_a_start_that_fails_late_ends_nobody_who_has_the_number_by_then(monkeypatch):
    # The child leaves, a copy of it stays in the middle of the start, and a stranger takes its status; as if the number
    # had gone to another child then.
    read_end, write_end = os.pipe()

    def leave_a_copy():
        if os.fork():
            os._exit(0)
        os.read(read_end, 1)

    def in_time(request):
        os.waitpid(request.started[0], 0)
        request.started[0] = other.pid
        return not_started_in_time(request)

    not_started_in_time = _start.not_started_in_time
    monkeypatch.setattr(_start, "not_started_in_time", in_time)
    with Popen(["cat"], stdin=PIPE) as other:
        with pytest.raises(TimeoutExpired):
            Popen(["true"], preexec_fn=leave_a_copy, spawn_timeout=0.1)
        os.write(write_end, b"x")
        os.close(read_end)
        os.close(write_end)
        assert other.poll() is None
    assert other.returncode == 0


@on_linux
def test_a_handler_that_interrupts_another_start_may_tie_a_child():
    # It may come when the interrupted code keeps others from forking; the lasting thread is one of them.
    code = (
        "import faulthandler; faulthandler.dump_traceback_later(40, exit=True)\n"
        "in_flight = importlib.import_module(sys.argv[1] + '._in_flight')\n"
        "def handler(*_): print(piece.run(['echo'], stdout=piece.PIPE, die_with_parent=True).returncode)\n"
        "signal.signal(signal.SIGUSR1, handler)\n"
        "with in_flight.no_fork, in_flight.no_fork: signal.raise_signal(signal.SIGUSR1)\n"
        "free = []\n"
        "thread = threading.Thread(target=lambda: free.append(in_flight.no_fork.acquire(timeout=15)))\n"
        "thread.start(); thread.join(); print(free)\n"
    )
    with script(code) as process:
        assert process.stdout.read() == "0\n[True]\n"


def test_a_handler_that_starts_a_child_leaves_the_interrupted_start_its_descriptors():
    kept = _in_flight.kept
    inner = []

    def start_another(*_):
        inner.append(run(["cat"], input=b"y", stdout=PIPE, preexec_fn=int).stdout)

    original, _child.Preparation = _child.Preparation, lambda *a: [start_another(), original(*a)][1]
    try:
        done = run(["cat"], input=b"x", stdout=PIPE, spawn_timeout=20, preexec_fn=int)
    finally:
        _child.Preparation = original
    assert done.stdout == b"x"
    assert inner in ([b"y"], [])  # public calls alone need no such preparation
    assert _in_flight.kept == kept == ()


@on_linux
def test_the_lasting_thread_may_be_called_from_itself():
    # A finaliser that happens to run there.
    def outer():
        return _lasting.call_from_lasting_thread(threading.get_ident), threading.get_ident()

    inside, outside = _lasting.call_from_lasting_thread(outer)
    assert inside == outside != threading.get_ident()


def test_many_threads_get_their_own_answers_from_the_lasting_one():
    answers = {}

    def ask(number):
        for step in range(50):
            answers[number, step] = _lasting.call_from_lasting_thread(lambda a, b: a * b, number, step)
        with pytest.raises(ZeroDivisionError):
            _lasting.call_from_lasting_thread(lambda: 1 // 0)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {(number, step): number * step for number in range(8) for step in range(50)}


def test_a_child_that_does_not_get_to_its_program_is_given_up():
    read_end, write_end = os.pipe()
    begun = time.monotonic()
    with pytest.raises(TimeoutExpired, match="before exec") as caught:
        Popen(["true"], stdout=PIPE, preexec_fn=lambda: os.read(read_end, 1), spawn_timeout=0.2)
    assert 0.2 <= time.monotonic() - begun < SOON
    assert caught.value.phase == "before exec"
    assert caught.value.timeout == 0.2
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    os.close(read_end)
    os.close(write_end)
    assert run(["echo"], stdout=PIPE, spawn_timeout=20).stdout == b"\n"
    assert run(["echo"], stdout=PIPE, spawn_timeout=float("inf")).stdout == b"\n"


def fail():
    raise LookupError


@pytest.mark.parametrize("by_steps", [False, True])
@pytest.mark.parametrize(
    ("options", "kind", "phase", "filename"),
    [
        ({"args": ["no-such-program"]}, FileNotFoundError, "exec", "no-such-program"),
        ({"args": ["/"]}, PermissionError, "exec", "/"),
        ({"args": ["true"], "cwd": "/absent"}, FileNotFoundError, "chdir", "/absent"),
        ({"args": ["true"], "cwd": "/dev/null"}, NotADirectoryError, "chdir", "/dev/null"),
        ({"args": ["true"], "process_group": 999_999_999}, OSError, "setpgid", None),
        ({"args": ["true"], "preexec_fn": fail}, SubprocessError, "preexec_fn", None),
        ({"args": ["true"], "pass_fds": [9999]}, OSError, "pass_fds", None),
    ],
)
def test_what_fails_before_the_program_has_a_phase(options, kind, phase, filename, by_steps):
    options = {**options, "nice": 1} if by_steps else options
    before = open_descriptors()
    with pytest.raises(kind) as caught:
        Popen(stdout=PIPE, **options)
    error = caught.value
    assert (error.phase, getattr(error, "filename", None)) == (phase, filename)
    assert pickle.loads(pickle.dumps(error)).phase == phase
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("public", [False, True])
def test_what_no_program_is_to_blame_for_has_a_phase_too(public, monkeypatch):
    if public:
        monkeypatch.setattr(_start, "order", ["posix_spawn", "fork"])
    with pytest.raises(OSError, match=r"denied|No such") as caught:
        Popen([""])
    assert caught.value.phase == "exec"
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        Popen(["true"], stdin=9999)
    assert caught.value.phase == "before exec"
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        Popen(["true"], pass_fds=[9999])
    assert caught.value.phase == "pass_fds"


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
@pytest.mark.parametrize("options", [{"nice": 1}, pytest.param({"die_with_parent": True}, marks=on_linux)])
def test_what_could_not_be_started_is_no_garbage(options):
    gc.collect()
    gc.disable()
    try:
        process = object.__new__(Popen)
        seen = weakref.ref(process)
        try:
            process.__init__(["/absent/program"], **options)
        except FileNotFoundError:
            pass
        del process
        assert seen() is None
    finally:
        gc.enable()


def test_a_limit_that_may_not_be_set_is_named():
    beyond = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if os.getuid() == 0:
        beyond = 1 << 40  # more than the kernel gives anybody
    with pytest.raises(PermissionError, match="RLIMIT_NOFILE") as caught:
        Popen(["true"], rlimits={resource.RLIMIT_NOFILE: beyond + 1})
    assert (caught.value.phase, caught.value.errno) == ("rlimits", errno.EPERM)


@pytest.mark.parametrize(
    ("number", "asked", "phase"),
    [
        (errno.EPERM, {"uid": 0}, "setuid"),
        (errno.EPERM, {"uid": 0, "cwd": "/"}, "setuid"),
        (errno.ENOENT, {"uid": 0, "cwd": "/absent"}, "chdir"),
        (errno.EPERM, {"uid": 0, "gid": 0}, "before exec"),
        (errno.EPERM, {"uid": 0, "pgid": 1}, "before exec"),
        (errno.EMFILE, {}, "before exec"),
    ],
)
def test_where_the_interpreter_tells_only_errno_the_step_is_deduced_or_left_open(number, asked, phase):
    request = _start.StartRequest()
    request.program, request.cwd, request.pgid = "program", None, -1
    request.uid = request.gid = request.groups = None
    for name, value in asked.items():
        setattr(request, name, value)
    with pytest.raises(OSError, match=r"permitted|No such|many") as caught:
        _start._raise_report(b"OSError:%x:noexec" % number, request)
    assert caught.value.phase == phase
    if phase != "chdir":
        assert "'program'" in str(caught.value)
