# SPDX-License-Identifier: MIT
"""Commands run as child processes (rows S)."""

from __future__ import annotations

import _thread
import itertools
import math
import os
import signal
import statistics
import time
from typing import Any

from .scenario import Absent, Impl, Wrong, alive, program, returns, scenario, until, with_word, within

#: A number of seconds that no other command line has: this process's id makes it so.
UNIQUE = f"77.{os.getpid()}"


def _end(word: str) -> None:
    """Kill what carries the word, and wait until it is gone."""
    for pid in with_word(word):
        os.kill(pid, signal.SIGKILL)
    until(5, "what was killed is gone", lambda: not with_word(word))


@scenario(
    "S1",
    "run(timeout=..., kill_tree=True) leaves no process of the command's tree",
    reproduced=True,
    needs=("subprocess.run(kill_tree)",),
)
def timeout_kills_the_tree(impl: Impl) -> None:
    options: dict[str, Any] = {"kill_tree": True} if impl.has("subprocess.run(kill_tree)") else {}
    try:
        with within(1.5, "run(timeout=0.3)"):
            impl.subprocess.run(f"sleep {UNIQUE} & wait", shell=True, timeout=0.3, **options)
        raise Wrong("run() returned, it should have raised TimeoutExpired")
    except impl.subprocess.TimeoutExpired:
        time.sleep(0.2)  # a process that has been killed needs a moment to be gone
        left = with_word(UNIQUE)
    finally:
        _end(UNIQUE)
    if left:
        raise Wrong(f"{len(left)} process of the tree left after the timeout")


def _with_a_grandchild(impl: Impl) -> Any:
    """A running shell that has written `so far` and has a child of its own, which holds the pipes."""
    shell = impl.subprocess.Popen(
        ["/bin/sh", "-c", f"echo so far; sleep {UNIQUE} & wait"], stdout=impl.subprocess.PIPE, text=True
    )
    until(5, "the shell has a child", lambda: any(pid != shell.pid for pid in with_word(UNIQUE)))
    return shell


@scenario("S2", "kill() and communicate(): ends in 0.5 s though a grandchild holds the pipe", reproduced=True)
def communicate_after_kill(impl: Impl) -> None:
    shell = _with_a_grandchild(impl)
    try:
        shell.kill()
        begun = time.monotonic()
        out, _ = returns(4, shell.communicate)
        took = time.monotonic() - begun
    finally:
        _end(UNIQUE)
    if took > 0.5:
        raise Wrong(f"communicate() took {took:.2f} s, allowed 0.5 s")
    if out != "so far\n":
        raise Wrong(f"communicate() gave {out!r}, the output so far is 'so far\\n'")


@scenario("S2", "run(timeout=0.3) ends in 0.5 s more though a grandchild holds the pipes, and has the output")
def run_with_a_grandchild(impl: Impl) -> None:
    for _ in range(3):  # the best of three: a busy machine may be late, a wrong implementation always is
        begun = time.monotonic()
        try:
            command = f"echo so far; sleep {UNIQUE} & wait"
            returns(5, impl.subprocess.run, command, shell=True, capture_output=True, text=True, timeout=0.3)
            raise Wrong("run() returned, it should have raised TimeoutExpired")
        except impl.subprocess.TimeoutExpired as expired:
            took, out = time.monotonic() - begun, expired.stdout
        finally:
            _end(UNIQUE)
        if took <= 0.8 and out in ("so far\n", b"so far\n"):
            return
    if took > 0.8:
        raise Wrong(f"run(timeout=0.3) took {took:.2f} s, allowed 0.8 s")
    if out not in ("so far\n", b"so far\n"):
        raise Wrong(f"TimeoutExpired.stdout is {out!r}, the output so far is 'so far\\n'")


@scenario("S3", "kill_tree() ends a command and all it started", needs=("subprocess.Popen.kill_tree",))
def kill_tree(impl: Impl) -> None:
    shell = _with_a_grandchild(impl)
    try:
        shell.kill_tree()
        until(1, "the whole tree is gone", lambda: not with_word(UNIQUE))
    finally:
        _end(UNIQUE)
        shell.kill()
        returns(5, shell.communicate)


@scenario("S4", "TimeoutExpired has str in text mode, '' for nothing", reproduced=True)
def text_of_what_timed_out(impl: Impl) -> None:
    command = ["/bin/sh", "-c", "echo out; exec sleep 60"]
    try:
        impl.subprocess.run(command, capture_output=True, text=True, timeout=0.5)
        raise Wrong("run() returned, it should have raised TimeoutExpired")
    except impl.subprocess.TimeoutExpired as expired:
        seen = expired.stdout, expired.stderr
    if seen != ("out\n", ""):
        raise Wrong(
            f"TimeoutExpired has stdout {seen[0]!r} and stderr {seen[1]!r}, should be 'out\\n' and ''"
        )


@scenario("S5", "wait(timeout) wakes up less than 5 ms after the end", alone=True, reproduced="<3.15")
def wakes_up_soon(impl: Impl) -> None:
    """The median of nine, because one of them may meet a busy machine."""
    late = []
    for number in range(9):
        sleeper = impl.subprocess.Popen(["sleep", "60"])
        killed_at: list[float] = []

        def kill(pid: int, after: float, at: list[float]) -> None:
            time.sleep(after)
            at.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)

        _thread.start_new_thread(kill, (sleeper.pid, 0.6 + number * 0.007, killed_at))
        sleeper.wait(timeout=10)
        late.append(time.monotonic() - killed_at[0])
    if statistics.median(late) > 0.005:
        raise Wrong(f"wait() woke up {statistics.median(late) * 1000:.1f} ms late (median), allowed 5 ms")


@scenario("S5", "2 s of wait(timeout) cost less than 1 ms of processor time", alone=True, reproduced="<3.15")
def waits_without_work(impl: Impl) -> None:
    """The better of two, because interrupts are charged to whom they interrupt."""
    used = []
    with impl.subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            for timeout in (0.01, 2, 2):
                begun = time.process_time()
                try:
                    sleeper.wait(timeout=timeout)
                    raise Wrong(f"wait(timeout={timeout}) returned, it should have raised TimeoutExpired")
                except impl.subprocess.TimeoutExpired:
                    used.append(time.process_time() - begun)
        finally:
            sleeper.kill()
    if min(used[1:]) > 0.001:
        raise Wrong(f"2 s of waiting cost {min(used[1:]) * 1000:.1f} ms, allowed 1 ms")


@scenario("S5", "timeouts of infinity and of 10 000 000 000 s are waited for")
def long_timeouts(impl: Impl) -> None:
    module = impl.subprocess
    for timeout in (math.inf, 1e10):
        for what in ("wait", "communicate", "run"):
            try:
                if what == "run":
                    code = module.run(["sleep", "0.2"], capture_output=True, timeout=timeout).returncode
                else:
                    with module.Popen(["sleep", "0.2"], stdout=module.PIPE, stderr=module.PIPE) as sleeper:
                        getattr(sleeper, what)(timeout=timeout)
                        code = sleeper.returncode
            except (OverflowError, ValueError, OSError) as error:
                raise Wrong(f"{what}(timeout={timeout:g}) raised {type(error).__name__}: {error}") from None
            if code:
                raise Wrong(f"{what}(timeout={timeout:g}) gave return code {code}")


@scenario(
    "S7", "the text of CalledProcessError ends with what the command last wrote to stderr", reproduced=True
)
def last_words(impl: Impl) -> None:
    command = ["/bin/sh", "-c", "d=full; echo the disk is $d >&2; exit 3"]
    try:
        impl.subprocess.run(command, capture_output=True, text=True, check=True)
        raise Wrong("run(check=True) returned, it should have raised CalledProcessError")
    except impl.subprocess.CalledProcessError as error:
        text = str(error)
    if "the disk is full" not in text.splitlines()[-1]:
        raise Wrong(f"the error says {text!r}, and not that the disk is full")


@scenario(
    "S8",
    "a child that hangs before exec is given up after spawn_timeout",
    reproduced=True,
    needs=("subprocess.Popen(spawn_timeout)",),
)
def hangs_before_exec(impl: Impl) -> None:
    options: dict[str, Any] = {"spawn_timeout": 0.5} if impl.has("subprocess.Popen(spawn_timeout)") else {}
    read_end, write_end = os.pipe()
    try:
        returns(4, impl.subprocess.Popen, ["true"], preexec_fn=lambda: os.read(read_end, 1), **options)
        raise Wrong("Popen() returned, it should have raised TimeoutExpired")
    except impl.subprocess.TimeoutExpired:
        pass
    finally:
        os.write(write_end, b"x")
        os.close(read_end)
        os.close(write_end)


@scenario(
    "S8",
    "resource limits and niceness need no preexec_fn",
    reproduced=True,
    needs=("subprocess.Popen(rlimits)", "subprocess.Popen(nice)"),
)
def declared_limits(impl: Impl) -> None:
    import resource

    limits = {resource.RLIMIT_NOFILE: (64, 64)}
    done = impl.subprocess.run(
        "ulimit -n; nice", shell=True, rlimits=limits, nice=3, stdout=impl.subprocess.PIPE, text=True
    )
    if done.stdout.split() != ["64", str(os.nice(0) + 3)]:
        raise Wrong(
            f"the child has descriptors and niceness {done.stdout.split()}, should be 64 and 3 more than ours"
        )


@scenario("S9", "other threads go on while exec takes long", alone=True)
def exec_takes_long(impl: Impl) -> None:
    """A search path of 200 000 entries stands for a slow file system: each of them is a failing exec in the child."""
    path = ":".join(["/absent"] * 200_000)
    ticks: list[float] = []
    ended: list[bool] = []

    def tick() -> None:
        while not ended:
            ticks.append(time.monotonic())
            time.sleep(0.001)

    _thread.start_new_thread(tick, ())
    begun = time.monotonic()
    try:
        impl.subprocess.run(["no-such-program"], env={"PATH": path})
        raise Wrong("run() returned, it should have raised FileNotFoundError")
    except FileNotFoundError:
        took = time.monotonic() - begun
    ended.append(True)
    within_it = [at for at in ticks if at >= begun]
    longest = max((after - before for before, after in itertools.pairwise(within_it)), default=took)
    if longest > took / 2:
        raise Wrong(f"another thread stood still for {longest:.2f} s of the {took:.2f} s that exec took")


TIED = """
import threading
def start():
    global command
    command = impl.subprocess.Popen(["sleep", "60"], die_with_parent=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()
import time
time.sleep(0.3)
print("child", command.pid, command.poll(), flush=True)
time.sleep(60)
"""


@scenario(
    "S10",
    "a tied child outlives the thread that started it, and is gone 1 s after its killed parent",
    reproduced=True,
    needs=("subprocess.Popen(die_with_parent)",),
)
def dies_with_its_parent(impl: Impl) -> None:
    with program(impl, TIED) as parent:
        found = parent.until_out(r"child (\d+) (\S+)")
        pid = int(found[1])
        try:
            if found[2] != "None":
                raise Wrong("the child ended with the thread that had started it")
            parent.send(signal.SIGKILL)
            parent.wait(5)
            until(1, "the child is gone", lambda: not alive(pid))
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@scenario(
    "S14",
    "output comes line by line while the command runs, and is captured as well",
    reproduced=True,
    needs=("subprocess.run(on_stdout)",),
)
def live_output(impl: Impl) -> None:
    heard: list[tuple[str, float]] = []
    command = ["/bin/sh", "-c", "echo one; sleep 0.5; echo two; echo three >&2"]

    def hear(line: str) -> None:
        heard.append((line, time.monotonic()))

    done = impl.subprocess.run(command, on_stdout=hear, capture_output=True, text=True)
    if [line for line, _ in heard] != ["one\n", "two\n"] or heard[1][1] - heard[0][1] < 0.3:
        raise Wrong(f"the callback heard {heard}, should be both lines, half a second apart")
    if (done.stdout, done.stderr) != ("one\ntwo\n", "three\n"):
        raise Wrong(f"the result has {done.stdout!r} and {done.stderr!r}, should have all")


def _start_as(pid: int) -> None:
    """Start a sleeping process with this id, which must be free; Absent where the system does not let us choose."""
    for _ in range(50):
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as last:
                last.write(str(pid - 1))
        except OSError as error:
            raise Absent(f"cannot choose the id of a process here: {error}") from None
        started = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
        if started == pid:
            return
        os.kill(started, signal.SIGKILL)
        os.waitpid(started, 0)
    raise Absent(f"process id {pid} could not be had again in 50 attempts")


@scenario("S12", "send_signal() never hits a process that has inherited the id")
def signal_for_a_former_id(impl: Impl) -> None:
    """Somebody else reaped the child, and its id went to another child of ours."""
    command = impl.subprocess.Popen(["true"])
    os.waitpid(command.pid, 0)
    _start_as(command.pid)
    try:
        command.kill()
        time.sleep(0.2)
        hit = not alive(command.pid)
    finally:
        os.kill(command.pid, signal.SIGKILL)
        os.waitpid(command.pid, 0)
        command.returncode = 0
    if hit:
        raise Wrong("kill() of an ended command killed another process that had got its id")
