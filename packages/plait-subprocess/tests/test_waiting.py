# SPDX-License-Identifier: MIT
"""Waiting for a child's end and sending it signals, with a pidfd and without."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import math
import os
import select
import signal
import sys
import threading
import time
import weakref

import pytest
from descriptors import open_descriptors
from patience import SOON

from plait.subprocess import PIPE, Popen, ProcessHandle, TimeoutExpired, run

handle_module = importlib.import_module(ProcessHandle.__module__ + "._handle")
kernel_module = importlib.import_module(ProcessHandle.__module__ + "._kernel")
popen_module = importlib.import_module(f"{Popen.__module__}._popen")
SoleHandle = handle_module.SoleHandle
PACKAGE = Popen.__module__
PYTHON = [sys.executable, "-I", "-S", "-c"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def has_pidfd():
    return kernel_module.probe_pidfd()


@pytest.fixture(params=["pidfd", "waitid", "waitpid"], autouse=True)
def kernel(request, monkeypatch):
    """Every test runs with what the kernel offers and with less."""
    if request.param == "pidfd":
        if not has_pidfd():
            pytest.skip("no pidfd here")
    else:
        monkeypatch.setattr(kernel_module, "pidfd_works", False)
    if request.param == "waitpid":
        monkeypatch.setattr(kernel_module, "waitid", None)
    elif not hasattr(os, "waitid"):
        pytest.skip("no waitid here")
    return request.param


def start(command, **options):
    return Popen(command, shell=isinstance(command, str), **options)


# Without these, a fresh interpreter would use what the kernel has, whatever the `kernel` fixture says.
LESS = {
    "pidfd": "",
    "waitid": "kernel_module.pidfd_works = False\n",
    "waitpid": "kernel_module.pidfd_works, kernel_module.waitid = False, None\n",
}


def script(code, kernel, timeout=100.0, **options):
    """Run *code* in a fresh interpreter that can import what we can and has no more than *kernel*."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    prelude = "import importlib, sys\nkernel_module = importlib.import_module(sys.argv[1] + '._kernel')\n"
    return run(
        [sys.executable, "-c", prelude + LESS[kernel] + code, PACKAGE],
        timeout=timeout,
        env=env,
        text=True,
        **options,
    )


def test_poll_is_none_until_the_child_has_ended():
    with start(["cat"], stdin=PIPE) as process:
        assert process.poll() is None
        assert process.returncode is None
        process.stdin.close()
        assert process.wait() == 0
        assert process.poll() == process.returncode == 0


@pytest.mark.parametrize("number", [0, 1, 7, 255])
def test_wait_gives_the_exit_status(number):
    assert start(f"exit {number}").wait() == number
    assert start(f"exit {number}").wait(10) == number


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGUSR1", "SIGABRT"])
def test_wait_gives_a_signal_as_a_negative_number(name):
    number = getattr(signal, name)
    process = start(["sleep", "60"])
    process.send_signal(number)
    assert process.wait(10) == -number


def test_kill_and_terminate_end_the_child():
    for end, number in ((Popen.kill, 9), (Popen.terminate, 15)):
        process = start(["sleep", "60"])
        end(process)
        assert process.wait(10) == -number


def test_signals_to_an_ended_child_are_ignored():
    process = start(["true"])
    process.wait()
    process.kill()
    process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_signal_that_does_not_exist_is_an_error():
    process = start(["cat"], stdin=PIPE)
    with process, pytest.raises(OSError, match="Invalid"):
        process.send_signal(999)


def test_wait_times_out_and_may_be_repeated():
    with start(["cat"], stdin=PIPE) as process:
        for timeout in (0.05, 0, -3):
            began = time.monotonic()
            with pytest.raises(TimeoutExpired) as caught:
                process.wait(timeout)
            assert time.monotonic() - began < SOON
            assert caught.value.timeout == timeout
            assert caught.value.cmd == ["cat"]
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("timeout", [math.inf, 1e10, 1e300, 2**40])
def test_wait_takes_any_timeout(timeout):
    assert start(["true"]).wait(timeout=timeout) == 0
    assert start("sleep 0.05; exit 3").wait(timeout=timeout) == 3


def lateness(wait):
    """The median of five: how long after a child was made to end, at an arbitrary moment, *wait* has returned."""
    late = []
    for number in range(5):
        process, ended_at = start(["cat"], stdin=PIPE), []

        def end(process=process, number=number, ended_at=ended_at):
            time.sleep(0.05 + 0.007 * number)
            ended_at.append(time.monotonic())
            process.stdin.close()

        thread = threading.Thread(target=end)
        thread.start()
        wait(process)
        returned_at = time.monotonic()
        thread.join()
        late.append(returned_at - ended_at[0])
        process.wait()
    return sorted(late)[2]


def test_wait_wakes_up_at_once_and_without_polling(kernel):
    if kernel != "pidfd":
        pytest.skip("that is what the pidfd is for")

    def bare(process):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    # Compared with a wait without a time limit, by the kernel alone. Who polls is late every time, the others are late
    # if the machine is busy.
    assert any(lateness(lambda process: process.wait(30)) - lateness(bare) < 0.005 for _ in range(25))
    # And however busy it is, who sleeps does not wake up before it is time.
    resource = pytest.importorskip("resource")
    with start(["sleep", "0.4"]) as process:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        process.wait(30)
        after = resource.getrusage(resource.RUSAGE_THREAD)
    assert after.ru_nvcsw - before.ru_nvcsw <= 4
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.01


def test_who_has_to_look_does_so_at_growing_intervals_within_bounds(kernel, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 9:
            process.stdin.close()
            time.sleep(0.1)

    monkeypatch.setattr(handle_module, "sleep", sleep)
    process = start(["cat"], stdin=PIPE)
    if kernel == "pidfd":
        process.stdin.close()
    assert process.wait(30) == 0
    if kernel == "pidfd":
        assert pauses == []
    else:
        assert pauses[:7] == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.02]
        assert {*pauses[6:]} == {0.02}


def test_several_threads_may_wait_at_once():
    process = start(["cat"], stdin=PIPE)
    codes = []
    ready = threading.Barrier(9)

    def work(timeout):
        ready.wait()
        codes.append(process.wait(timeout))

    threads = [threading.Thread(target=work, args=(timeout,)) for timeout in [None, 20] * 4]
    for thread in threads:
        thread.start()
    ready.wait()
    process.kill()
    for thread in threads:
        thread.join(20)
    assert codes == [-9] * 8
    process.stdin.close()


def test_the_status_of_other_children_is_not_taken():
    stranger = os.fork()
    if stranger == 0:
        os._exit(7)
    for _ in range(3):
        assert run(["true"]).returncode == 0
    process = start(["false"])
    assert process.wait() == 1
    assert os.waitstatus_to_exitcode(os.waitpid(stranger, 0)[1]) == 7


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_child_reaped_by_someone_else_counts_as_0(timeout):
    handle = ProcessHandle(
        os.posix_spawn("/bin/false", ["false"], {}) if hasattr(os, "posix_spawn") else _fork_false()
    )
    os.waitpid(handle.pid, 0)
    assert handle.wait(timeout) == 0
    assert handle.status_lost
    assert handle.poll() == 0
    handle.send_signal(9)  # to nobody


def _fork_false():
    pid = os.fork()
    if pid == 0:
        os._exit(1)
    return pid


def test_children_that_the_kernel_reaps_are_waited_for(kernel):
    code = (
        "import importlib, signal, sys, time\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "began = time.monotonic()\n"
        "p = piece.Popen(['sleep', '0.2']); a = p.wait()\n"
        "p = piece.Popen(['sleep', '0.2']); b = p.wait(30)\n"
        "print(a, b, 0.4 <= time.monotonic() - began < 20)\n"
        "try: piece.run(['no-such-program'])\n"
        "except FileNotFoundError: print('clear')\n"
    )
    assert script(code, kernel, stdout=PIPE).stdout == "0 0 True\nclear\n"


def test_a_sigchld_handler_may_poll_and_wait(kernel):
    code = (
        "import importlib, signal, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "live, seen = [], 0\n"
        "def reap(*_):\n"
        "    global seen\n"
        "    for p in list(live):\n"
        "        p.poll()\n"
        "        if p.poll() is not None: seen += 1; p.wait(); p.wait(5)\n"
        "signal.signal(signal.SIGCHLD, reap)\n"
        "for i in range(60):\n"
        "    p = piece.Popen(['/bin/sh', '-c', f'exit {i}']); live.append(p)\n"
        "    code = p.wait() if i % 3 == 0 else p.wait(10) if i % 3 == 1 else p.communicate() and p.returncode\n"
        "    assert code == i, (code, i)\n"
        "    live.clear()\n"
        "print('done')\n"
    )
    assert script(code, kernel, stdout=PIPE).stdout == "done\n"


def test_a_sigchld_handler_that_takes_every_status_does_no_harm(kernel):
    code = (
        "import importlib, os, signal, sys\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "def reap(*_):\n"
        "    try:\n"
        "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
        "    except ChildProcessError: pass\n"
        "signal.signal(signal.SIGCHLD, reap)\n"
        "for i in range(30):\n"
        "    assert piece.run(['false'], timeout=10 if i % 2 else None).returncode in (0, 1)\n"
        "    assert piece.run(['echo'], capture_output=True).stdout == b'\\n'\n"
        "print('done')\n"
    )
    assert script(code, kernel, stdout=PIPE).stdout == "done\n"


def test_a_forked_copy_refuses_to_wait_for_the_parents_child():
    process = start(["cat"], stdin=PIPE)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = []
        for act in (
            process.poll,
            process.wait,
            lambda: process.wait(1),
            process.kill,
            process.handle.fileno,
        ):
            try:
                act()
                said.append("nothing")
            except RuntimeError as error:
                said.append("refused" if str(process.pid) in str(error) else str(error))
        del act, process
        gc.collect()
        os.write(write_end, " ".join(said).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    with open(read_end) as pipe:
        assert pipe.read() == "refused refused refused refused refused"
    assert process.poll() is None
    process.kill()
    assert process.wait() == -9
    process.stdin.close()


def test_a_popen_in_a_cycle_closes_its_descriptor_once_and_its_child_is_reaped():
    process = start(["sleep", "60"])
    process.me, pid = process, process.pid
    with pytest.warns(ResourceWarning, match=f"subprocess {pid} is still running"):  # noqa: PT031
        del process
        gc.collect()
    other = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]  # one of them has its number now
    os.kill(pid, signal.SIGKILL)
    while popen_module.abandoned:
        run(["true"])
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    for fd in other:
        os.close(fd)


def test_a_collected_popen_warns_and_its_child_is_reaped_at_the_next_start():
    wait_read, wait_write = os.pipe()
    process = start(["sh", "-c", "read word"], stdin=wait_read)
    os.close(wait_read)
    pid, ref = process.pid, weakref.ref(process)
    with pytest.warns(ResourceWarning, match=f"subprocess {pid} is still running"):  # noqa: PT031
        del process
        for _ in range(3):  # PyPy may need more than one
            gc.collect()
    assert ref() is None
    assert [handle.pid for handle in popen_module.abandoned] == [pid]
    os.close(wait_write)
    # Wait for its end without taking the status.
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        run(["true"])
    else:
        deadline = time.monotonic() + SOON
        while popen_module.abandoned and time.monotonic() < deadline:
            run(["true"])
    assert popen_module.abandoned == []
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_no_descriptor_stays_behind_once_a_child_was_waited_for():
    run(["true"])
    before = open_descriptors()
    processes = [start(["true"]) for _ in range(10)]
    for index, process in enumerate(processes):
        process.wait(10 if index % 2 else None)
    assert open_descriptors() == before


def test_a_timeout_that_is_no_number_is_refused():
    with start(["cat"], stdin=PIPE, stdout=PIPE) as process:
        for wait in (process.wait, process.handle.wait):
            with pytest.raises(ValueError, match="nan"):
                wait(math.nan)
        with pytest.raises(ValueError, match="nan"):
            process.communicate(timeout=math.nan)
        process.kill()


class TestProcessHandle:
    def test_it_waits_and_raises_the_builtin_timeout(self):
        process = start(["cat"], stdin=PIPE)
        handle = process.handle
        assert handle.pid == process.pid
        assert handle.returncode is None
        with pytest.raises(TimeoutError):
            handle.wait(0.02)
        process.stdin.close()
        assert handle.wait(10) == handle.poll() == handle.returncode == 0
        assert "returncode=0" in repr(handle)
        assert process.returncode is None
        assert process.wait() == 0

    def test_its_descriptor_becomes_readable_at_the_end(self, kernel):
        process = start(["cat"], stdin=PIPE)
        handle = process.handle
        if kernel != "pidfd":
            with pytest.raises(io.UnsupportedOperation):
                handle.fileno()
            process.stdin.close()
            process.wait()
            return
        assert select.select([handle], [], [], 0)[0] == []
        process.stdin.close()
        assert select.select([handle], [], [], 10)[0] == [handle]
        process.wait()
        assert select.select([handle], [], [], 0)[0] == [handle]
        handle.close()
        handle.close()
        # Asked for again, or for the first time after the end, it is readable too.
        assert select.select([handle], [], [], 0)[0] == [handle]
        handle.close()

    def test_its_descriptor_can_be_had_again_after_close(self, kernel):
        if kernel != "pidfd":
            pytest.skip("there is none to begin with")
        process = start(["cat"], stdin=PIPE)
        process.handle.fileno()
        process.handle.close()
        assert select.select([process.handle], [], [], 0)[0] == []
        process.stdin.close()
        assert select.select([process.handle], [], [], 10)[0] == [process.handle]
        process.wait()
        process.handle.close()

    def test_a_look_inside_a_look_keeps_the_descriptor(self, kernel, monkeypatch):
        # A SIGCHLD handler that polls the very handle whose poll() it has interrupted, after the peek.
        if kernel == "waitpid":
            pytest.skip("there is no peek")
        process = start(["false"])
        handle = process.handle
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        inner = []

        def waitid_interrupted(*args):
            found = os.waitid(*args)
            monkeypatch.setattr(kernel_module, "waitid", os.waitid)  # once is enough
            inner.append(None)
            handle._look()
            inner.append(handle.returncode)
            return found

        monkeypatch.setattr(kernel_module, "waitid", waitid_interrupted)
        with handle._lock:
            handle._look()
        assert (inner, handle.returncode, handle.status_lost) == ([None, 1], 1, False)
        assert handle._fd == -1
        assert process.wait() == 1

    def test_being_out_of_descriptors_once_says_nothing_about_the_kernel(self, kernel, monkeypatch):
        if kernel != "pidfd":
            pytest.skip("about the pidfd")

        def refuse(_pid):
            raise OSError(errno.EMFILE, "Too many open files")

        real = os.pidfd_open

        with monkeypatch.context() as patch:
            patch.setattr(kernel_module, "pidfd_works", None)
            patch.setattr(os, "pidfd_open", refuse)
            patch.setattr(kernel_module, "pidfd_open", refuse)
            assert start(["true"]).wait(10) == 0
            assert kernel_module.pidfd_works is None
            patch.setattr(os, "pidfd_open", real)
            patch.setattr(kernel_module, "pidfd_open", real)
            assert start(["true"]).wait(10) == 0
            assert kernel_module.pidfd_works is True

    def test_its_descriptor_may_be_made_non_blocking(self, kernel):
        # As libuv does with what it watches.
        if kernel != "pidfd":
            pytest.skip("there is none")
        process = start(["cat"], stdin=PIPE)
        os.set_blocking(process.handle.fileno(), False)
        assert process.poll() is None
        timer = threading.Timer(0.1, process.stdin.close)
        timer.start()
        assert process.wait() == 0
        timer.join()
        process.handle.close()

    def test_it_goes_on_without_its_descriptor_after_close(self):
        process = start(["sleep", "60"])
        process.handle.close()
        assert process.poll() is None
        with pytest.raises(TimeoutExpired):
            process.wait(0.02)
        process.kill()
        assert process.wait(10) == -9

    def test_it_does_not_signal_a_process_that_inherited_the_number(self, monkeypatch):
        process = start(["true"])
        handle = process.handle
        os.waitpid(process.pid, 0)  # a stranger takes the status; from now on the number is free
        hits = []
        monkeypatch.setattr(os, "kill", lambda pid, sig: hits.append(pid))
        handle.send_signal(signal.SIGTERM)
        assert hits == []
        assert handle.status_lost
        assert process.poll() == 0


def test_what_a_handler_raises_is_no_answer_of_the_kernel(kernel, monkeypatch):
    # It strikes when the kernel has said that the child runs.
    def handler(*_):
        raise ChildProcessError(errno.ECHILD, "of the handler")

    def struck(ask):
        def asked(*about):
            ask(*about)
            signal.raise_signal(signal.SIGALRM)

        return asked

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with start(["cat"], stdin=PIPE) as process:
            with monkeypatch.context() as patch:
                patch.setattr(os, "waitpid", struck(os.waitpid))
                if kernel != "waitpid":
                    patch.setattr(kernel_module, "waitid", struck(kernel_module.waitid))
                for act in (process.poll, lambda: process.wait(10), process.kill, process.handle._look):
                    with pytest.raises(ChildProcessError, match="of the handler"):
                        act()
            assert (process.poll(), process.handle.status_lost) == (None, False)
            process.stdin.close()
            assert process.wait() == 0
    finally:
        signal.signal(signal.SIGALRM, before)


class TestNumbers:
    """A number that was given out again means somebody else. Here that is done by hand."""

    @pytest.fixture
    def pidfd(self, kernel):
        if kernel != "pidfd":
            pytest.skip("nothing but the pidfd can tell")

    @pytest.mark.parametrize(
        "act",
        [
            Popen.poll,
            Popen.wait,
            Popen.kill,
            lambda process: process.wait(10),
            lambda process: process.kill_tree(),
            lambda process: process.handle.fileno(),
        ],
    )
    @pytest.mark.parametrize("other_ends", [False, True])
    @pytest.mark.usefixtures("pidfd")
    def test_another_child_that_has_the_number_now_is_left_alone(self, act, other_ends):
        process = start("exit 5")
        with start("cat; exit 7", stdin=PIPE) as other:
            os.waitpid(process.pid, 0)  # a stranger
            if other_ends:
                other.stdin.close()
                os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
            process.pid = process.handle.pid = other.pid
            act(process)
            assert (process.poll(), process.handle.status_lost) == (0, True)
            assert other_ends or other.poll() is None
            other.stdin.close()
            assert other.wait() == 7

    @pytest.mark.usefixtures("pidfd")
    def test_a_number_that_was_kept_and_taken_all_the_same_is_nobodys(self):
        process = start("exit 5")
        handle = process.handle
        handle.keeps_number = True
        assert process.wait() == 5
        assert handle.has_number()
        with start("exit 7") as other:
            os.waitpid(process.pid, 0)  # a stranger
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
            handle.pid = other.pid
            assert not handle.has_number()
            handle.give_number_back()
            assert other.wait() == 7
        assert handle._fd == -1

    def test_who_is_about_to_sleep_on_a_number_has_it_kept(self, kernel):
        # Between the last look at what is written down and the call that sleeps.
        if kernel != "waitid":
            pytest.skip("nobody sleeps on the number")
        for ends in ("return", "drop"):
            process = start("exit 5")
            handle = process.handle
            loan = object()
            assert handle._borrow(loan) == -1
            assert process.wait() == 5
            assert os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ends == "return":
                handle._give_back(loan)
            else:
                del process, handle.returncode
                handle.returncode = 5
                pid = handle.pid
                del handle
                gc.collect()
            with pytest.raises(ChildProcessError):
                os.waitpid(pid if ends == "drop" else process.pid, os.WNOHANG)

    @pytest.mark.parametrize("answer", [None, OSError(errno.EBADF, "Bad file descriptor")])
    def test_a_look_whose_descriptor_was_closed_meanwhile_is_made_again(self, kernel, answer, monkeypatch):
        # By another thread, which has seen the end; the number of the descriptor may mean somebody else by then.
        if kernel == "waitpid":
            pytest.skip("there is no peek")
        with start("exit 5") as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

            def late(*_):
                monkeypatch.setattr(kernel_module, "waitid", os.waitid)
                process.handle.poll()
                if answer is not None and kernel == "pidfd":
                    raise answer

            monkeypatch.setattr(kernel_module, "waitid", late)
            assert process.poll() == 5

    @pytest.mark.usefixtures("pidfd")
    def test_without_its_own_descriptor_a_signal_goes_through_a_new_one(self, monkeypatch):
        hits = []
        monkeypatch.setattr(os, "kill", lambda pid, sig: hits.append(pid))
        process = start(["sleep", "60"])
        process.handle.close()
        before = len(open_descriptors())
        process.kill()
        assert len(open_descriptors()) == before
        assert (process.wait(10), hits) == (-9, [])
        # And if a stranger takes the status just before it is sent.
        process = start(["cat"], stdin=PIPE)
        process.handle.close()
        process.handle.pid, pid = os.getpid(), process.pid
        monkeypatch.setattr(handle_module, "send_through_pidfd", lambda fd, sig: hits.append(fd))
        process.handle._send(signal.SIGCONT)
        process.handle.pid = pid
        process.stdin.close()
        assert (process.wait(10), hits) == (0, [])

    @pytest.mark.usefixtures("pidfd")
    def test_pidfds_that_cannot_be_signalled_through_are_not_used(self, monkeypatch):
        def refuse(*_):
            raise PermissionError(errno.EPERM, "Operation not permitted")  # a filter of system calls

        monkeypatch.setattr(kernel_module, "pidfd_works", None)
        monkeypatch.setattr(kernel_module, "send_through_pidfd", refuse)
        process = start(["sleep", "60"])
        process.kill()
        assert (process.wait(10), kernel_module.pidfd_works) == (-9, False)

    @pytest.mark.usefixtures("pidfd")
    def test_who_asks_for_a_descriptor_of_a_number_that_is_kept_gets_a_pidfd(self):
        process = start("exit 5")
        handle = process.handle
        handle.keeps_number = True
        handle.close()
        assert process.wait() == 5
        assert select.select([handle], [], [], 0)[0] == [handle]
        assert handle.has_number()
        handle.give_number_back()
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, 0)
        handle.close()

    @pytest.mark.usefixtures("pidfd")
    def test_who_is_struck_while_he_gets_a_descriptor_gets_a_readable_one_later(self, monkeypatch):
        left = []

        def strike(fd):
            left.append(fd)
            raise KeyboardInterrupt

        process = start("exit 5")
        handle = process.handle
        process.wait()
        with monkeypatch.context() as patch:
            patch.setattr(os, "close", strike)
            with pytest.raises(KeyboardInterrupt):
                handle.fileno()
        assert select.select([handle], [], [], 0)[0] == [handle]
        handle.close()
        any(map(os.close, left))


class TestSoleHandle:
    """The handle that run() has. Here the child has another one too, which finds its status taken."""

    @pytest.mark.parametrize("at_once", [False, True])
    @pytest.mark.parametrize("code", [0, 7, -9])
    def test_it_takes_the_status_in_one_step(self, kernel, at_once, code):
        with start(f"exit {code}" if code >= 0 else "kill -9 $$") as process:
            handle = SoleHandle(process.pid, at_once)
            assert (handle.wait(), handle.returncode, handle.poll(), handle._fd) == (code, code, code, -1)

    @pytest.mark.parametrize("at_once", [False, True])
    @pytest.mark.parametrize("late", [False, True])
    def test_a_wait_that_is_interrupted_has_lost_nothing(self, kernel, at_once, late, monkeypatch):
        # Before the status was taken, or between that and the writing down.
        def interrupt(*_):
            raise KeyboardInterrupt

        with start("exit 5" if late else "cat", stdin=PIPE) as process:
            handle = SoleHandle(process.pid, at_once)
            with monkeypatch.context() as patch:
                if late:
                    patch.setattr(SoleHandle, "_heed", interrupt)
                else:
                    patch.setattr(os, "waitpid", interrupt)
                    patch.setattr(kernel_module, "waitid", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    handle.wait()
            if not late:
                assert handle.poll() is None
                with pytest.raises(TimeoutError):
                    handle.wait(0.01)
                handle.send_signal(9)
            assert handle.wait() == handle.wait(10) == (5 if late else -9)
            assert not handle.status_lost

    @pytest.mark.parametrize("act", [lambda handle: handle.send_signal(9), lambda handle: handle.wait()])
    @pytest.mark.parametrize("at_once", [False, True])
    def test_it_signals_nobody_when_a_stranger_has_the_status(self, kernel, at_once, act, monkeypatch):
        with start("exit 5") as process:
            handle = SoleHandle(process.pid, at_once)
            os.waitpid(process.pid, 0)
            hits = []
            monkeypatch.setattr(os, "kill", lambda pid, sig: hits.append(pid))
            act(handle)
            assert (hits, handle.returncode, handle.status_lost) == ([], 0, True)


def test_ctrl_c_gives_the_child_a_moment_and_is_not_swallowed(kernel):
    if kernel != "pidfd":
        pytest.skip("takes its time; what differs is tested above")
    code = (
        "import importlib, os, signal, sys, threading, time\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "popen = importlib.import_module(sys.argv[1] + '._popen')\n"
        # However busy the machine is, this child ends within its moment; how long a moment is comes last.
        "moment, popen._INTERRUPT_GRACE = popen._INTERRUPT_GRACE, 30\n"
        "main = threading.get_ident()\n"
        # Ctrl-C comes when this thread sleeps where it should, however long it takes to get there.
        "def when_in(name, act):\n"
        "    def look():\n"
        "        while name not in names(sys._current_frames()[main]): time.sleep(0.005)\n"
        "        time.sleep(0.05); act()\n"
        "    def names(frame):\n"
        "        while frame: yield frame.f_code.co_name; frame = frame.f_back\n"
        "    threading.Thread(target=look).start()\n"
        "def linger(): time.sleep(30)\n"
        "places = {'wait': '_sleep_and_look', 'communicate': '_loop', 'with': 'linger'}\n"
        "for act in places:\n"
        "    p = piece.Popen(['/bin/sh', '-c', 'trap \"sleep 0.1; exit 5\" INT; echo; while :; do sleep 0.01; done'],"
        " stdout=piece.PIPE)\n"
        "    p.stdout.readline()\n"
        "    when_in(places[act], lambda: (os.kill(p.pid, signal.SIGINT), os.kill(os.getpid(), signal.SIGINT)))\n"
        "    try:\n"
        "        if act == 'with':\n"
        "            with p: linger()\n"
        "        else: getattr(p, act)()\n"
        "    except KeyboardInterrupt: print(act, p.returncode)\n"
        "    p.stdout.close()\n"
        "popen._INTERRUPT_GRACE = moment\n"
        "began = time.monotonic()\n"
        "when_in('wait', lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "try: piece.run(['sleep', '60'])\n"
        "except KeyboardInterrupt: print('run', time.monotonic() - began < 20)\n"
    )
    assert script(code, kernel, stdout=PIPE).stdout == "wait 5\ncommunicate 5\nwith 5\nrun True\n"


def test_a_look_that_is_late_forgets_no_code(monkeypatch):
    process, waited = Popen(["cat"], stdin=PIPE), []
    poll, ended_within = ProcessHandle.poll, ProcessHandle.ended_within

    def meanwhile(code):
        if code is None and not waited:
            waited.append(None)
            process.stdin.close()
            thread = threading.Thread(target=lambda: waited.append(process.wait()))
            thread.start()
            thread.join()
        return code

    monkeypatch.setattr(ProcessHandle, "poll", lambda self: meanwhile(poll(self)))
    process.poll()
    assert (waited, process.returncode) == ([None, 0], 0)
    process, waited = Popen(["cat"], stdin=PIPE), []
    monkeypatch.setattr(ProcessHandle, "poll", poll)
    monkeypatch.setattr(ProcessHandle, "ended_within", lambda self, t: meanwhile(ended_within(self, t)))
    with pytest.raises(TimeoutExpired):
        process.wait(0.01)
    assert (waited, process.returncode) == ([None, 0], 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs os.pidfd_open")
def test_a_refusal_that_a_test_puts_in_the_place_of_pidfd_open_is_met(monkeypatch):
    asked = []

    def refuse(pid):
        asked.append(pid)
        raise OSError(errno.EPERM, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", refuse)
        process = Popen(["sleep", "0.05"])
        assert process.wait(20) == 0
    assert set(asked) == ({process.pid} if kernel_module.pidfd_works else set())
