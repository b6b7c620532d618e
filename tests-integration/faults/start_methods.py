# SPDX-License-Identifier: MIT
"""Starting processes, their life and their end (rows MF, ML3, MP13 and S13)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from .evidence import asleep, must_die, noted, one_process, told
from .scenario import Impl, Wrong, program, python, returns, scenario

LOCAL_FUNCTION = """
import sys, traceback

def main(method):
    def local_function():
        print("local_function ran", flush=True)
    process = impl.multiprocessing.get_context(method).Process(target=local_function)
    try:
        process.start()
    except Exception as error:
        print("raised", *traceback.format_exception_only(type(error), error), sep="\\n", flush=True)
    else:
        process.join()

if __name__ == "__main__":
    main(sys.argv[1])
"""

# Words of which a remedy has at least one: where else to put the function, or what else to choose.
REMEDIES = (
    "module level",
    "top level",
    "top-level",
    "module-level",
    "importable",
    "fork",
    "pickler",
    "by value",
)


@scenario("MF2", "a local function as target works, or the error names it and the remedy", deadline=40)
def local_target(impl: Impl) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        with program(impl, LOCAL_FUNCTION, method) as running:
            running.wait(10)
            if "local_function ran" in running.out:
                continue
            said = running.out.partition("raised")[2].strip().splitlines()
            if not said:
                raise Wrong(f"{method}: neither ran nor raised: {running.err[-200:]!r}")
            # What an uncaught error prints below its traceback, notes included.
            if not any("local_function" in line and any(word in line for word in REMEDIES) for line in said):
                raise Wrong(f"{method}: it is told {said[0]!r}")


# What a notebook or a prompt is to a child process: a main module without a file.
CELL_POOL = """
import time
def cell(number):
    return number + 1

begun = time.monotonic()
try:
    with impl.multiprocessing.get_context(METHOD).Pool(1) as pool:
        print("returned", pool.apply_async(cell, (1,)).get(20), flush=True)
except Exception as error:
    print("raised", type(error).__name__, flush=True)
print(f"took {time.monotonic() - begun:.2f} s", flush=True)
"""

CELL_EXECUTOR = """
import time
def cell(number):
    return number + 1

begun = time.monotonic()
try:
    context = impl.multiprocessing.get_context(METHOD)
    with impl.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        print("returned", pool.submit(cell, 1).result(20), flush=True)
except Exception as error:
    print("raised", type(error).__name__, flush=True)
print(f"took {time.monotonic() - begun:.2f} s", flush=True)
"""


def _at_the_prompt(impl: Impl, code: str) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        head = f"from faults.scenario import Impl\nimpl = Impl({impl.name!r})\nMETHOD = {method!r}\n"
        with python("-c", head + code) as running:
            found = running.until_out(r"returned (\d+)|raised (\w+)", 6)
            took = float(running.until_out(r"took ([\d.]+) s", 15)[1])
            if found[1] not in ("2", None):
                raise Wrong(f"{method}: the function returned {found[1]}")
            if took > 2:
                raise Wrong(f"{method}: {found[0]} after {took} s, allowed 2 s")
            running.wait(5)


@scenario(
    "MF3",
    "a Pool at the prompt runs its functions, or raises within 2 s",
    deadline=40,
    needs=("multiprocessing.Pool",),
    alone=True,
)
def pool_at_the_prompt(impl: Impl) -> None:
    _at_the_prompt(impl, CELL_POOL)


@scenario(
    "MF3",
    "a process executor at the prompt runs its functions, or raises within 2 s",
    deadline=40,
    alone=True,
)
def executor_at_the_prompt(impl: Impl) -> None:
    _at_the_prompt(impl, CELL_EXECUTOR)


# The module submits its own function while it is being imported. Each worker imports it, too: an implementation that lets
# the worker do the same starts processes without end, which the module notes at the third generation, and stops.
OWN_FUNCTION_AT_IMPORT = """
import os
from faults.scenario import Impl

generation = int(os.environ.get("GENERATION", "0"))
if generation > 2:
    open("runaway", "w").close()
    raise SystemExit("a worker of a worker of a worker imports the module")
os.environ["GENERATION"] = str(generation + 1)

def work():
    return "worked"

impl = Impl({name!r})
pool = {pool}
try:
    print({submit}, flush=True)
finally:
    {end}
"""


def _submits_at_import(impl: Impl, **parts: str) -> None:
    Path("submits_at_import.py").write_text(OWN_FUNCTION_AT_IMPORT.format(name=impl.name, **parts))
    folder = str(Path.cwd())
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    with python("-c", "import submits_at_import", env={"PYTHONPATH": path}) as running:
        running.wait(12)
    if Path("runaway").exists():
        raise Wrong("each worker imports the module and starts workers of its own, without end")


@scenario("MF6", "an executor that is used while its module is imported ends or raises", reproduced=True)
def executor_during_import(impl: Impl) -> None:
    _submits_at_import(
        impl,
        pool="impl.futures.ProcessPoolExecutor(1)",
        submit="pool.submit(work).result()",
        end="pool.shutdown()",
    )


@scenario(
    "MF6",
    "a Pool that is used while its module is imported ends or raises",
    needs=("multiprocessing.Pool",),
)
def pool_during_import(impl: Impl) -> None:
    _submits_at_import(
        impl, pool="impl.multiprocessing.Pool(1)", submit="pool.apply(work)", end="pool.terminate()"
    )


WITH_BUSY_THREADS = """
import sys, time

lock = impl.threading.Lock()

def keep_busy():
    # Held all but all of the time by one thread or another.
    while True:
        with lock:
            time.sleep(0.001)

def take():
    with lock:
        pass

def main(number):
    for _ in range(8):
        impl.threading.Thread(target=keep_busy, daemon=True).start()
    done, begun = 0, time.monotonic()
    while done < number and time.monotonic() - begun < 60:
        batch = [impl.multiprocessing.Process(target=take) for _ in range(10)]
        for child in batch:
            child.start()
        for child in batch:
            child.join(20)
            if child.exitcode != 0:
                print("stuck: exit code", child.exitcode, "after", done, "children", flush=True)
                child.kill()
                return
            done += 1
    print("finished", done, flush=True)

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""


@scenario("MF1", "children started beside 8 threads that hold locks all finish", deadline=100)
def children_beside_busy_threads(impl: Impl) -> None:
    """1 000 of them, or as many as a minute has room for. A child that inherits a lock which another thread of its
    parent had does not finish.
    """
    with program(impl, WITH_BUSY_THREADS, 1000) as running:
        found = running.until_out(r"finished \d+|stuck: .*", 90)[0]
        if not found.startswith("finished"):
            raise Wrong(found)
        running.wait(5)


def leave(code: int) -> None:
    sys.exit(code)


@scenario(
    "ML3",
    "exitcode is an int once join() has returned, in every thread",
    deadline=60,
    warm=one_process,
)
def exit_code_after_join(impl: Impl) -> None:
    seen: list[Any] = []

    def join(process: Any) -> None:
        process.join()
        seen.append(process.exitcode)

    for _ in range(20):
        process = impl.multiprocessing.Process(target=leave, args=(7,))
        process.start()
        threads = [impl.threading.Thread(target=join, args=(process,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            returns(10, thread.join)
        process.close()
    wrong = [code for code in seen if code != 7]
    if wrong or len(seen) != 160:
        raise Wrong(f"exitcode was {wrong[:3]} in {len(wrong)} of {len(seen)} looks, expected 7")


WITH_DAEMONS = """
import os, sys, time

def main(method):
    child = impl.multiprocessing.get_context(method).Process(target=time.sleep, args=(60,), daemon=True)
    child.start()
    print("child", child.pid, "end", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    main(sys.argv[1])
"""


@scenario("MP13", "daemonic children end with their killed parent", deadline=40, reproduced=True, alone=True)
def daemons_of_a_killed_parent(impl: Impl) -> None:
    for method in impl.multiprocessing.get_all_start_methods():
        with program(impl, WITH_DAEMONS, method) as running:
            pid = int(running.until_out(r"child (\d+) end")[1])
            asleep(pid)
            running.send(signal.SIGKILL)
            must_die(2, [pid], f"daemonic children ({method})")


def run_a_program(impl: Impl) -> str:
    """What a grandchild says that writes to each of its standard streams and reads from the first."""
    try:
        done = impl.subprocess.run(
            [sys.executable, "-c", "import sys; sys.stderr.write(sys.stdin.read()); print('said')"],
            stdin=impl.subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
        )
        # It inherits whatever the worker has.
        plain = impl.subprocess.run([sys.executable, "-c", "print('', end='')"], timeout=10)
    except Exception as error:
        return told(error)
    return (
        f"{done.returncode} {done.stdout.decode().strip()} {done.stderr.decode().strip()} {plain.returncode}"
    )


def run_and_note(impl: Impl, note: Path) -> None:
    note.write_text(run_a_program(impl))


def run_in_a_pool(impl: Impl) -> str:
    pool = impl.multiprocessing.Pool(1)
    try:
        return str(returns(15, pool.apply, run_a_program, (impl,)))
    finally:
        returns(5, pool.terminate)
        returns(5, pool.join)


def run_in_an_executor(impl: Impl) -> str:
    with impl.futures.ProcessPoolExecutor(1) as pool:
        return str(pool.submit(run_a_program, impl).result(15))


def run_in_a_process(impl: Impl) -> str:
    note = Path("said").absolute()
    process = impl.multiprocessing.Process(target=run_and_note, args=(impl, note))
    process.start()
    returns(15, process.join)
    process.close()
    return noted(note, 0)


def must_have_run(said: str) -> None:
    if said.split() != ["0", "said", "0"]:
        raise Wrong(f"the grandchild: {said!r}")


@scenario("S13", "subprocess.run() works in a Process", warm=one_process)
def run_within_a_process(impl: Impl) -> None:
    must_have_run(run_in_a_process(impl))


@scenario("S13", "subprocess.run() works in a worker of an executor", warm=one_process)
def run_within_an_executor(impl: Impl) -> None:
    must_have_run(run_in_an_executor(impl))


@scenario(
    "S13", "subprocess.run() works in a worker of a Pool", needs=("multiprocessing.Pool",), warm=one_process
)
def run_within_a_pool(impl: Impl) -> None:
    must_have_run(run_in_a_pool(impl))
