# SPDX-License-Identifier: MIT
"""Many threads start many children, talk to them, give up on them, kill them: nothing is left and every status is right.

    python tests/stress.py --threads 20 --children 500        the full size: ten thousand commands
    python tests/stress.py --threads 4 --children 50 --seed 7
    python tests/stress.py --help

The suite runs it small (test_stress.py). Each thread goes through *children* steps, each drawn at random: run() with input
and output, with a status, with a time limit that it exceeds; Popen with communicate() in pieces; terminate and kill at a
random moment, from this thread or another; trees of processes that are killed with their daemons; callbacks for lines,
some of which raise; limits on output; pipelines; limits that the child sets itself. All know beforehand what has to come
out. In the end there is no descriptor, process, zombie or thread more than in the beginning (but for the few pipes that are
kept for the next child: `open_descriptors`).

What goes wrong is printed, with the seed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback

from descriptors import open_descriptors

from plait.subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    OutputTooLarge,
    Pipeline,
    Popen,
    TimeoutExpired,
    call,
    check_output,
    run,
)

# A daemon in a session of its own, whose parents have ended, then a child, then the process itself: they say their numbers.
TREE = (
    "(setsid sh -c 'echo $$; exec sleep 7777' &) ; sh -c 'echo $$; exec sleep 7777' & echo $$; sleep 7777; true"
    if os.path.exists("/usr/bin/setsid")
    else "sh -c 'echo $$; exec sleep 7777' & echo $$; sleep 7777; true"
)
IN_TREE = 3 if "setsid" in TREE else 2


class Told(Exception):
    """What a callback raises."""


def expect(got: object, wanted: object) -> None:
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(dice: random.Random) -> None:
    code = dice.randrange(256)
    expect(run(["sh", "-c", f"exit {code}"], timeout=dice.choice((None, 60))).returncode, code)
    expect(call(["sh", "-c", f"kill -{15} $$"]), -15)


def there_and_back(dice: random.Random) -> None:
    data = dice.randbytes(dice.choice((0, 1, 5000, 200_000)))
    done = run(["cat"], input=data, stdout=PIPE, stderr=dice.choice((None, PIPE)), timeout=60)
    expect((done.returncode, done.stdout), (0, data))


def both_outputs(dice: random.Random) -> None:
    size = dice.choice((10, 100_000))
    command = f"head -c {size} /dev/zero; head -c {size} /dev/zero >&2; exit 9"
    done = run(command, shell=True, capture_output=True)
    expect((done.returncode, len(done.stdout), len(done.stderr)), (9, size, size))
    expect(len(check_output(command + " | true", shell=True, stderr=STDOUT)), 2 * size)


def in_pieces(dice: random.Random) -> None:
    with Popen("sleep 0.05; cat; exit 4", shell=True, stdin=PIPE, stdout=PIPE) as process:
        given: bytes | None = b"x" * 100_000
        for _ in range(10_000):
            try:
                out, _ = process.communicate(given, timeout=dice.uniform(0, 0.03))
                break
            except TimeoutExpired:
                given = None
        expect((len(out), process.returncode), (100_000, 4))


def too_long(dice: random.Random) -> None:
    grace = dice.choice((0.0, 0.05))
    with contextlib.suppress(TimeoutExpired):
        done = run(
            "echo so far; exec sleep 60", shell=True, stdout=PIPE, timeout=dice.uniform(0, 0.05), grace=grace
        )
        raise AssertionError(f"{done} ended before its time")


def killed(dice: random.Random) -> None:
    number = dice.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1))
    process = Popen(["sleep", "60"], stdout=dice.choice((None, PIPE, DEVNULL)))
    with process:
        time.sleep(dice.uniform(0, 0.01))
        if dice.random() < 0.5:
            killer = threading.Thread(target=process.send_signal, args=(number,))
            killer.start()
            expect(process.wait(dice.choice((None, 60))), -number)
            killer.join()
        else:
            process.send_signal(number)
            process.communicate(timeout=60)
    expect(process.returncode, -number)


def killed_while_it_ends(dice: random.Random) -> None:
    with Popen(["true"]) as process:
        time.sleep(dice.uniform(0, 0.003))
        process.kill()
        if process.wait(60) not in (0, -9):
            raise AssertionError(process)


def tree(dice: random.Random) -> None:
    with Popen(TREE, shell=True, stdout=PIPE, text=True, mark_tree=True) as process:
        pids = [int(process.stdout.readline()) for _ in range(IN_TREE)]
        process.kill_tree(grace=dice.choice((0.0, 0.02)))
        expect([pid for pid in pids if is_running(pid)], [])
        if process.returncode not in (-9, -15):
            raise AssertionError(process)


def tree_by_time_limit(dice: random.Random) -> None:
    heard: list[str] = []
    with contextlib.suppress(TimeoutExpired):
        run(
            TREE,
            shell=True,
            on_stdout=heard.append,
            text=True,
            timeout=dice.uniform(0.0, 0.2),
            kill_tree=True,
        )
        raise AssertionError("ended before its time")
    expect([pid for pid in map(int, heard) if is_running(pid)], [])


def lines(dice: random.Random) -> None:
    count, heard = dice.randrange(2000), []
    done = run(["seq", str(count)], on_stdout=heard.append, stdout=PIPE, text=True)
    expect((heard, done.stdout), ([f"{n}\n" for n in range(1, count + 1)], "".join(heard)))


def callback_raises(dice: random.Random) -> None:
    def tell(line: bytes) -> None:
        raise Told(line)

    try:
        run("echo x; exec sleep 60", shell=True, on_stdout=tell, kill_tree=dice.random() < 0.2)
    except Told as told:
        expect(told.args, (b"x\n",))


def too_much(dice: random.Random) -> None:
    try:
        run(["yes"], stdout=PIPE, max_output=dice.choice((0, 1, 100_000)))
    except OutputTooLarge as error:
        expect(len(error.stdout), error.limit)


def pipeline(dice: random.Random) -> None:
    if dice.random() < 0.3:
        with contextlib.suppress(TimeoutExpired):
            Pipeline([["cat"], ["sleep", "60"]]).run(input=b"x", capture_output=True, timeout=0.02)
            raise AssertionError("ended before its time")
        return
    done = Pipeline([["cat"], ["sh", "-c", "cat; exit 3"], ["cat"]]).run(
        input=b"y" * 70_000, capture_output=True
    )
    expect((done.returncodes, len(done.stdout)), ((0, 3, 0), 70_000))


def cannot_start(dice: random.Random) -> None:
    try:
        run(["/absent"], stdin=PIPE, capture_output=True, nice=dice.choice((0, 1)))
    except FileNotFoundError as error:
        expect(error.phase, "exec")


def limited(dice: random.Random) -> None:
    out = run("ulimit -n", shell=True, stdout=PIPE, rlimits={resource.RLIMIT_NOFILE: 99}, nice=1)
    expect((out.stdout, out.returncode), (b"99\n", 0))
    if sys.platform == "linux":
        expect(run(["sh", "-c", "exit 5"], die_with_parent=True, timeout=60).returncode, 5)


def forgotten(dice: random.Random) -> None:
    Popen(["sleep", "0.01"])  # nobody waits; a later start takes its status


STEPS = {
    status: 8,
    there_and_back: 8,
    both_outputs: 5,
    in_pieces: 4,
    too_long: 6,
    killed: 8,
    killed_while_it_ends: 5,
    tree: 2,
    tree_by_time_limit: 2,
    lines: 5,
    callback_raises: 4,
    too_much: 4,
    pipeline: 4,
    cannot_start: 4,
    limited: 2,
    forgotten: 2,
}


def descriptors() -> set[int]:
    gc.collect()
    return set(open_descriptors())


def children() -> list[str]:
    """Whoever is our child, zombies included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
                if int(text.rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(text.decode(errors="replace"))
    return found


def work(number: int, options: argparse.Namespace, wrong: list[str], counts: dict[str, int]) -> None:
    dice = random.Random(options.seed * 1000 + number)
    for step in dice.choices(list(STEPS), list(STEPS.values()), k=options.children):
        if wrong:
            return
        try:
            step(dice)
        except BaseException:
            wrong.append(f"thread {number}, {step.__name__}:\n{traceback.format_exc()}")
        counts[step.__name__] = counts.get(step.__name__, 0) + 1  # about right is good enough


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--children", type=int, default=500, help="steps of each thread")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--patience", type=float, default=3000.0, help="seconds before all stacks are shown")
    options = parser.parse_args()
    faulthandler.dump_traceback_later(options.patience, exit=True)
    import warnings

    warnings.simplefilter("ignore", ResourceWarning)
    limited(random.Random(1))  # what is started once, and kept, is there before anything is counted
    before, threads_before, begun = descriptors(), len(os.listdir("/proc/self/task")), time.monotonic()
    wrong: list[str] = []
    counts: dict[str, int] = {}
    threads = [
        threading.Thread(target=work, args=(number, options, wrong, counts))
        for number in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not wrong:
        run(["true"])  # looks after the forgotten
        left = children(), descriptors() ^ before, len(os.listdir("/proc/self/task")) - threads_before
        if left == ([], set(), 0):
            break
        time.sleep(0.05)
    else:
        wrong.append(
            f"left: processes {left[0]}, descriptors {left[1]}, threads {left[2]}" if not wrong else ""
        )
    for text in filter(None, wrong):
        print(f"seed {options.seed}: {text}", file=sys.stderr)
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    print(f"{sum(counts.values()):6} steps in {time.monotonic() - begun:.1f} s, seed {options.seed}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
