# SPDX-License-Identifier: MIT
"""Signal handlers that raise, forks in other threads, and starts at odd moments: nothing is lost or kept."""

from __future__ import annotations

import _thread
import importlib
import os
import sys
import threading
import time
import types

import pytest
from descriptors import open_descriptors

from plait.subprocess import DEVNULL, PIPE, Pipeline, Popen, run

PACKAGE = Popen.__module__
alone_module, error_pipe_module, exchange_module, in_flight_module, popen_module, start_module = (
    importlib.import_module(PACKAGE + name)
    for name in ("._alone", "._error_pipe", "._exchange", "._in_flight", "._popen", "._start")
)
piece = importlib.import_module(PACKAGE)
OWN_PIPE = importlib.import_module(PACKAGE + "._ends").OWN_PIPE

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def script(code, *arguments, timeout=100.0, **options):
    """Run *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, PACKAGE, *arguments]
    return run(command, timeout=timeout, env=env, text=True, capture_output=True, **options)


# Looks for what is left of each run of the sweep.
SWEEP = r"""
import gc, importlib, os, sys, warnings
from descriptors import open_descriptors
from sweep import sweep
warnings.simplefilter("ignore")
piece = importlib.import_module(sys.argv[1])
flight = importlib.import_module(sys.argv[1] + "._in_flight")
abandoned = importlib.import_module(sys.argv[1] + "._popen").abandoned

def descriptors():
    return set(open_descriptors())

def look(before, where):
    gc.collect()
    while abandoned: abandoned.pop().wait()  # not lost: the next start would have looked after it
    assert descriptors() == before, (where, descriptors() ^ before)
    assert not flight.in_flight, where
    assert len(flight.error_pipes) == len(flight.spare), where
    assert not flight.no_fork._is_owned(), where
    try: left = os.waitpid(-1, 0)
    except ChildProcessError: left = None
    assert not left, (where, left)

def fail():
    try: piece.run(["/no/such/program"], input=b"x", stdout=piece.PIPE, stderr=piece.PIPE)
    except FileNotFoundError: pass

piece.run(["true"], input=b"x", capture_output=True)
act = {
    "fail": fail,
    "spawn": lambda: piece.run(["true"], close_fds=False),
    "run alone": lambda: piece.run(["true"]),
    "hear": lambda: piece.check_output(["echo", "x"], text=True),
    "hear both": lambda: piece.run(["echo", "x"], capture_output=True),
    "hear a lot": lambda: piece.check_output(["head", "-c", "300000", "/dev/zero"]),
    "read one output": lambda: piece.check_output(["echo", "x"], text=True, bufsize=0),
    "succeed": lambda: piece.run(["true"], input=b"x", capture_output=True, timeout=20),
    "pipeline": lambda: piece.Pipeline([["true"], ["true"]]).run(input=b"x", capture_output=True, timeout=20),
    "limits": lambda: piece.run(["true"], nice=1, spawn_timeout=20),
    "tie": lambda: piece.run(["true"], die_with_parent=True),
}[sys.argv[2]]
if sys.argv[2] == "spawn":
    importlib.import_module(sys.argv[1] + "._start").order[:] = ["posix_spawn", "fork"]
act()
gc.collect()
gc.freeze()  # what is there now need not be looked through again after each run
# The short way has few.
places = sweep(sys.argv[1], lambda _: act(), descriptors, look)
print("places:", places > (20 if sys.argv[2] in ("run alone", "hear", "hear both") else 50))
"""


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info < (3, 11), reason="needs to know the places"
)
# "pipeline", "limits", "tie", "spawn", "hear both" and "hear a lot" are there too; they take their time.
@pytest.mark.parametrize(
    "act", os.environ.get("PLAIT_SWEEPS", "succeed,fail,run alone,hear,read one output").split(",")
)
def test_a_handler_that_raises_anywhere_leaves_no_descriptor_and_no_child(act):
    result = script(SWEEP, act)
    assert (result.stdout, result.returncode) == ("places: True\n", 0), result.stderr


@pytest.fixture
def with_a_fork():
    """Makes of a function one before which another thread forks a copy of this process, as multiprocessing does.

    The copies live until the end of the test.
    """
    copies = []
    wait_read, wait_write = os.pipe()

    def fork():
        pid = os.fork()
        if pid == 0:
            os.close(wait_write)
            os.read(wait_read, 1)
            os._exit(0)
        copies.append(pid)

    def forking(function):
        def call(*args, **kwargs):
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()
            return function(*args, **kwargs)

        return call

    forking.copies = copies
    yield forking
    os.close(wait_write)
    os.close(wait_read)
    for pid in copies:
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "moment", ["start of the program", "making of the handle", "communicate()", "exchange of data"]
)
def test_a_copy_forked_meanwhile_by_another_thread_holds_up_nothing(moment, monkeypatch, with_a_fork):
    target, name = {
        "start of the program": (start_module, "start"),
        "making of the handle": (popen_module, "handle_of_new_child"),
        "communicate()": (Popen, "communicate"),
        "exchange of data": (exchange_module.Exchange, "_loop"),
    }[moment]
    monkeypatch.setattr(target, name, with_a_fork(getattr(target, name)))
    result = run(["cat"], input=b"x" * 100_000, capture_output=True, timeout=20)
    assert len(result.stdout) == 100_000
    assert len(with_a_fork.copies) == 1


def inodes(folder):
    """Of what is open, by a folder of /proc."""
    try:
        for fd in os.listdir(folder):
            try:
                yield os.stat(f"{folder}/{fd}").st_ino
            except FileNotFoundError:
                pass  # closed meanwhile
    except FileNotFoundError:
        pass  # it has ended


@pytest.mark.parametrize("moment", ["start of the program", "reading"])
@pytest.mark.parametrize("options", [{"stdout": PIPE}, {"capture_output": True}])
def test_a_copy_forked_while_a_command_is_heard_keeps_nothing_of_it(
    options, moment, monkeypatch, with_a_fork
):
    run(["true"])
    if not alone_module.can_be_heard((["true"],), {}, True):
        pytest.skip("there is no short way here")
    target, name = (
        (piece, "_fork_exec") if moment == "start of the program" else (alone_module, "read_little")
    )
    function = getattr(target, name, None) or alone_module._platform._posixsubprocess.fork_exec
    mine = set()

    def looking(*args):
        opened = [fd for some in in_flight_module.in_flight.values() for fd in some]
        mine.update(os.fstat(fd).st_ino for fd in opened)
        return with_a_fork(function)(*args)

    monkeypatch.setattr(target, name, looking, raising=False)
    # If the copy had an end to write to, this would not end before the copy does.
    assert run(["echo", "x"], **options).stdout == b"x\n"
    (copy,) = with_a_fork.copies
    assert mine
    theirs, deadline = f"/proc/{copy}/fd", time.monotonic() + 20
    while os.path.isdir(theirs) and mine & set(inodes(theirs)):
        assert time.monotonic() < deadline  # it may not have come to closing them yet
        time.sleep(0.005)


def test_a_copy_forked_between_two_commands_keeps_sigpipe_from_nobody(monkeypatch, with_a_fork):
    monkeypatch.setattr(start_module, "start", with_a_fork(start_module.start))
    result = Pipeline([["yes"], ["cat"], ["head", "-n1"]]).run(capture_output=True, timeout=30)
    assert (result.stdout, result.returncodes) == (b"y\n", (-13, -13, 0))
    assert len(with_a_fork.copies) == 3


def feeds(process):
    return process.stdin.fileno() in in_flight_module.feeding


def test_whose_input_has_ended_strikes_off_nobody_elses():
    # The number of an input that was closed is given to the next one at once.
    others = []

    def start_another(_line):
        others.append(Popen(["cat"], stdin=OWN_PIPE))
        assert feeds(others[0])

    run(["sh", "-c", "cat >&2; echo x"], input=b"x", stderr=DEVNULL, on_stdout=start_another)
    (other,) = others
    assert feeds(other)
    other.communicate()
    assert not in_flight_module.feeding


def test_a_clean_up_that_is_begun_again_strikes_off_nobody_elses_input(monkeypatch):
    others = []

    def strike(*_):
        if not others:
            others.append(Popen(["cat"], stdin=OWN_PIPE))
            raise KeyboardInterrupt

    monkeypatch.setattr(popen_module, "end_unowned", strike)
    with pytest.raises(KeyboardInterrupt):
        run(["/no/such/program"], input=b"x")
    (other,) = others
    assert feeds(other)
    other.communicate()
    assert not in_flight_module.feeding


def test_forks_in_another_thread_never_catch_a_start_half_done():
    code = (
        "import importlib, os, sys, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "wait_read, wait_write = os.pipe()\n"
        "copies, enough = [], threading.Event()\n"
        "def forks():\n"
        "    while not enough.wait(0.001) and len(copies) < 150:\n"
        "        pid = os.fork()\n"
        "        if not pid: os.close(wait_write); os.read(wait_read, 1); os._exit(0)\n"
        "        copies.append(pid)\n"
        "thread = threading.Thread(target=forks); thread.start()\n"
        "runs = 0\n"
        "while runs < 30 or len(copies) < 6:\n"
        "    assert piece.run(['cat'], input=b'x', capture_output=True, timeout=20).stdout == b'x'\n"
        "    runs += 1\n"
        "enough.set(); thread.join(); os.close(wait_write)\n"
        "for pid in copies: os.waitpid(pid, 0)\n"
        "print('done')\n"
    )
    result = script(code)
    assert result.stdout == "done\n", result.stderr


def test_starting_and_talking_import_nothing_that_a_signal_handler_could_find_half_done():
    code = (
        "import importlib, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "before = set(sys.modules)\n"
        "piece.run(['cat'], input=b'x', capture_output=True, timeout=20)\n"
        "p = piece.Popen(['cat'], stdin=piece.PIPE); p.kill(); p.wait(); p.stdin.close()\n"
        "print(*sorted(set(sys.modules) - before - {'_posixsubprocess'}))\n"
    )
    result = script(code)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    if sys.implementation.name != "cpython" or sys.version_info < (3, 11):
        # Not ours: 3.10's fork_exec imports the standard module, which is fit for that.
        loaded = [name for name in loaded if name.startswith(PACKAGE)]
    assert loaded == []


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs to know the places")
def test_a_handler_that_raises_around_a_fork_leaves_other_threads_their_starts():
    code = (
        "import importlib, os, sys, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "folder, me = os.path.dirname(piece.__file__), os.getpid()\n"
        "sys.unraisablehook = lambda _: None\n"
        "def trace(frame, event, arg):\n"
        "    if os.getpid() == me and frame.f_code.co_filename.startswith(folder): raise KeyboardInterrupt\n"
        "sys.settrace(trace)\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(0)\n"
        "sys.settrace(None)\n"
        "os.waitpid(pid, 0)\n"
        "thread = threading.Thread(target=lambda: print(piece.run(['true'], stdout=piece.PIPE).returncode), daemon=True)\n"
        "thread.start(); thread.join(20)\n"
    )
    result = script(code)
    assert result.stdout == "0\n", result.stderr


def test_starts_in_a_signal_handler_do_not_disturb_the_interrupted_start():
    code = (
        "import importlib, signal, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "said = []\n"
        "def handler(*_):\n"
        "    said.append(piece.run(['cat'], input=b'y', capture_output=True).stdout)\n"
        # Not before this one is done. (If there is no time between two, they are nested; so there is an end of it.)
        "    if len(said) < 40: signal.setitimer(signal.ITIMER_REAL, 0.0003 * (len(said) % 10 + 1))\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.002)\n"
        "while len(said) < 40:\n"
        "    assert piece.run(['cat'], input=b'x', capture_output=True).stdout == b'x'\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(set(said))\n"
    )
    result = script(code)
    assert result.stdout == "{b'y'}\n", result.stderr


def test_run_leaves_no_child_behind_after_ctrl_c():
    code = (
        "import importlib, os, signal, sys, threading\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "pid = os.getpid()\n"
        "said, said_write = os.pipe()\n"
        "def interrupt(): os.read(said, 1); os.kill(pid, signal.SIGINT)\n"
        "for options in ({}, {'stdout': piece.PIPE}):\n"
        "    threading.Thread(target=interrupt).start()\n"
        "    try: piece.run(['sh', '-c', f'echo >&{said_write}; exec sleep 60'], pass_fds=[said_write], **options)\n"
        "    except KeyboardInterrupt: pass\n"
        "    try: print(os.waitpid(-1, os.WNOHANG))\n"
        "    except ChildProcessError: print('gone')\n"
    )
    result = script(code)
    assert (result.stdout, result.stderr) == ("gone\ngone\n", "")


def test_a_popen_that_outlives_the_interpreter_says_nothing():
    code = (
        "import importlib, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "class Holder: pass\n"
        "holder = Holder()\n"
        "holder.itself, holder.process = holder, piece.Popen(['cat'], stdin=piece.PIPE)\n"
    )
    result = script(code)
    assert "Exception ignored" not in result.stderr
    assert result.returncode == 0


def test_a_wrong_encoding_is_found_out_before_the_program_runs(tmp_path):
    mark = tmp_path / "mark"
    before = open_descriptors()
    with pytest.raises(LookupError):
        Popen(["touch", str(mark)], stdin=PIPE, stdout=PIPE, encoding="no such encoding")
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):  # there is no child, so nothing can still make the mark
        os.waitpid(-1, 0)
    assert not mark.exists()


def test_a_clean_up_that_was_cut_short_is_finished_by_the_next_start(monkeypatch):
    def strike(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(popen_module, "handle_of_new_child", strike)
        patch.setattr(Popen, "_undo_start", strike)
        with pytest.raises(KeyboardInterrupt):
            Popen(["sleep", "60"], stdin=DEVNULL)
    ((pid,),) = [request.started for request in start_module.failed.values()]
    for _ in range(2000):
        run(["true"])
        if not popen_module.abandoned:
            break
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    assert (start_module.failed, in_flight_module.in_flight) == ({}, {})


def failed_request(monkeypatch, pid):
    request = start_module.StartRequest()
    request.started, request.opened = [pid], []
    monkeypatch.setitem(start_module.failed, id(request), request)
    return request


def test_a_clean_up_that_was_cut_short_names_no_process_if_there_is_none(monkeypatch):
    failed_request(monkeypatch, -1)  # what stands in for fork_exec may say that
    monkeypatch.setattr(popen_module, "handle_of_new_child", None)
    assert run(["true"]).returncode == 0
    assert not start_module.failed


def test_a_clean_up_that_was_cut_short_and_may_not_kill_disturbs_nobody_elses_start(monkeypatch):
    def refuse(_handle, _sig):
        raise PermissionError  # it has become another user

    with Popen(["cat"], stdin=PIPE) as process:
        failed_request(monkeypatch, process.pid)
        with monkeypatch.context() as patch:
            patch.setattr(piece.ProcessHandle, "send_signal", refuse)
            assert Popen(["true"]).wait() == 0
        assert not start_module.failed
        assert [handle.pid for handle in popen_module.abandoned] == [process.pid]
        popen_module.abandoned.clear()


def test_no_handler_raises_in_a_callback_around_the_fork_for_preexec_fn():
    code = (
        "import importlib, os, signal, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "class Strike(Exception): pass\n"
        "def handler(*_): raise Strike\n"
        "signal.signal(signal.SIGUSR1, handler)\n"
        "steps = []\n"
        "def before(): steps.append('locked'); os.kill(os.getpid(), signal.SIGUSR1); steps.append('unlocked')\n"
        "os.register_at_fork(before=before)\n"
        "mask = lambda: sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))\n"
        "mine = [int(signal.SIGUSR2)]\n"
        "signal.pthread_sigmask(signal.SIG_SETMASK, mine)\n"
        "try: piece.run(['true'], preexec_fn=int)\n"
        "except Strike: steps.append('struck')\n"
        "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "read, write = os.pipe()\n"
        "piece.run(['true'], preexec_fn=lambda: os.write(write, b'1' if mask() == mine else b'0'))\n"
        "print(*steps, mask() == mine, os.read(read, 1))\n"
    )
    result = script(code)
    assert result.stdout.startswith("locked unlocked struck"), result.stderr
    assert result.stdout.endswith("True b'1'\n"), result.stdout


def test_the_lock_that_keeps_forks_away_is_taken_back_whatever_strikes(monkeypatch):
    class Lock:
        held, strikes = 0, 3

        def acquire(self, _blocking):
            if self.strikes and self.held == 1:
                self.strikes -= 1
                raise KeyboardInterrupt
            self.held += 1
            return True

    lock = Lock()
    monkeypatch.setattr(in_flight_module, "no_fork", lock)
    with pytest.raises(KeyboardInterrupt):
        in_flight_module.forbid_fork(3)
    assert lock.held == 3


class Strike(BaseException):
    pass


class StruckLock:
    """An RLock of which one taking is struck: when it has been taken, and before anything sees to its release."""

    def __init__(self):
        self.lock, self.strikes = _thread.RLock(), 1
        self._is_owned, self.release = self.lock._is_owned, self.lock.release

    def __enter__(self):
        self.lock.acquire()
        if self.strikes:
            self.strikes -= 1
            raise Strike

    def __exit__(self, *_):
        self.lock.release()


STEPS = {
    "open": lambda opened: in_flight_module.open_pipe(opened),
    "lift": lambda opened: in_flight_module.lifted(opened[0], opened),
    "close": lambda opened: in_flight_module.close(opened, opened[:1]),
    "close all": lambda opened: in_flight_module.close_all(0, opened),
    "feed": lambda _: in_flight_module.stop_feeding(-1, types.SimpleNamespace(close=int)),
    "start": lambda _: Popen(["true"]).wait(),
    "start with pipes": lambda _: run(["true"], capture_output=True),
    "start plainly": lambda _: run(["true"], close_fds=error_pipe_module.discard(in_flight_module.spare)),
    "start with one pipe": lambda _: run(["true"], stdout=PIPE),
    "start by fork": lambda _: run(["true"], preexec_fn=int),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("by", ["fork_exec", "fork"])
def test_who_is_struck_keeps_no_lock_that_forks_wait_for(step, by, monkeypatch):
    run(["true"])
    opened = list(os.pipe())
    lock = StruckLock()
    with monkeypatch.context() as patch:
        patch.setattr(start_module, "order", [by])
        for name in ("_in_flight", "_start", "_alone", "_start_publicly"):
            patch.setattr(importlib.import_module(PACKAGE + "." + name), "no_fork", lock)
        with pytest.raises(Strike):
            STEPS[step](opened)
        assert not lock._is_owned()
        with lock.lock:  # in a handler that has interrupted who holds it
            STEPS[step](opened)
            assert lock._is_owned()
        assert not lock._is_owned()
    for fd in opened:
        os.close(fd)
    assert not in_flight_module.in_flight


def test_who_is_struck_keeps_no_lock_of_a_handle():
    process = Popen(["sleep", "60"])
    handle = process.handle
    acts = [
        lambda: handle.send_signal(0), handle.fileno, handle.close, lambda: handle.lend(max, 0),
        lambda: handle.duplicate_descriptor([]), lambda: handle.wait(0.01),
    ]  # fmt: skip
    for act in acts:
        handle._lock = lock = StruckLock()
        with pytest.raises(Strike):
            act()
        assert not lock._is_owned()
    process.kill()
    process.wait()
    process = Popen(["true"])
    handle = process.handle
    if hasattr(os, "waitid"):  # else each look takes the lock
        os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT)
    handle._lock = lock = StruckLock()
    with pytest.raises(Strike):
        handle.poll()
    assert not lock._is_owned()
    assert process.wait() == 0


def test_a_child_that_hangs_after_its_fork_holds_up_nobody_elses_start():
    code = (
        "import importlib, os, signal, sys, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "flight = importlib.import_module(sys.argv[1] + '._in_flight')\n"
        "importlib.import_module(sys.argv[1] + '._start').order[:] = ['fork']\n"
        "go_on, let_go = os.pipe()\n"
        "forked, said = os.pipe()\n"
        "os.register_at_fork(after_in_child=lambda: (os.write(said, b'x'), os.read(go_on, 1)))\n"
        "handled = threading.Event()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (handled.set(), os.write(let_go, b'x')))\n"
        "def other():\n"
        "    os.read(forked, 1)\n"
        "    flight.close_all(0, [*flight.open_pipe([])]); print('other', flush=True)\n"
        "    while not handled.wait(0.02): signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)\n"
        "threading.Thread(target=other, daemon=True).start()\n"
        "print(piece.run(['true'], preexec_fn=int).returncode)\n"
    )
    assert script(code).stdout == "other\n0\n"


class TestCalledAgain:
    """communicate() that a handler's exception has ended, and that is called again."""

    @pytest.mark.parametrize("size", [1, 1 << 20])
    def test_nothing_is_lost_or_repeated(self, size):
        class Strikes(list):
            """Each second extension is struck when it has been made, and before anybody has seen it."""

            count = 0

            def extend(self, results):
                super().extend(results)
                self.count += 1
                if self.count % 2:
                    raise Strike

        data = os.urandom(size)
        process = Popen(["cat"], stdin=PIPE, stdout=PIPE)
        exchange, count = process._start_exchange(data), 0
        exchange._come, exchange._sent = Strikes(), Strikes([0])
        while True:
            try:
                out, _ = process.communicate()
            except Strike:
                count += 1
            else:
                break
        assert out == data
        assert count > 1

    def test_a_read_into_a_block_counts(self, monkeypatch):
        collected_module = importlib.import_module(PACKAGE + "._collected")
        if not collected_module._can_reserve:
            pytest.skip("there is no reading into a block here")
        collected = collected_module.Collected()

        class Strikes(list):
            def extend(self, results):
                super().extend(results)
                raise Strike

        collected.write(b"a")
        assert collected.reserve()
        collected._counts = Strikes(collected._counts)
        read_end, write_end = os.pipe()
        os.write(write_end, b"bc")
        with pytest.raises(Strike):
            collected.read_from(read_end)
        collected._counts = list(collected._counts)
        os.write(write_end, b"d")
        os.close(write_end)
        assert [collected.read_from(read_end), collected.read_from(read_end)] == [1, 0]
        os.close(read_end)
        assert collected.getvalue() == b"abcd"


def test_two_clean_ups_of_one_start_do_not_disturb_each_other():
    class Emptied(list):
        """A list that another thread empties as soon as it was looked at."""

        def __bool__(self):
            some = len(self) > 0
            self.clear()
            return some

    request = start_module.StartRequest()
    request.started, request.opened = Emptied([-1]), []
    start_module.end_unowned(request)
    assert not request.started


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs to be told of calls of C code")
@pytest.mark.parametrize("order", ["posix_spawn", "fork"])
def test_a_handler_that_raises_as_soon_as_there_is_a_child_leaves_none(order):
    code = (
        "import importlib, os, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "importlib.import_module(sys.argv[1] + '._start').order[:] = [sys.argv[2]]\n"
        "class Strike(BaseException): pass\n"
        "me, held = os.getpid(), importlib.import_module(sys.argv[1] + '._in_flight').no_fork._is_owned\n"
        "def profile(frame, event, arg):\n"
        "    if event != 'c_return' or os.getpid() != me or held() and sys.argv[2] == 'fork': return\n"
        "    try: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)\n"
        "    except ChildProcessError: return\n"
        "    sys.setprofile(None)\n"
        "    raise Strike\n"
        "piece.run(['true'], close_fds=False)\n"
        "sys.setprofile(profile)\n"
        "try: piece.run(['sleep', '60'], close_fds=False)\n"
        "except Strike: print('struck')\n"
        "try: print('left', os.waitpid(-1, os.WNOHANG))\n"
        "except ChildProcessError: print('gone')\n"
    )
    result = script(code, order)
    assert result.stdout == "struck\ngone\n", result.stderr


def test_a_failed_start_that_is_struck_waits_for_nobody_else(monkeypatch):
    # Between the call that takes the status and what is done with it; then the number may mean another child.
    start_module = importlib.import_module(Popen.__module__ + "._start")
    handle_module = importlib.import_module(Popen.__module__ + "._handle")
    request = start_module.StartRequest()
    with Popen(["false"]) as child:
        request.started = [child.pid]

        def strike(_self):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(handle_module.SoleHandle, "_heed", strike)
            with pytest.raises(KeyboardInterrupt):
                start_module._take_status(request)
        with monkeypatch.context() as patch:
            patch.setattr(os, "waitpid", None)
            patch.setattr(os, "kill", None)
            start_module.end_unowned(request)
        assert request.started == []
