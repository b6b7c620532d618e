# SPDX-License-Identifier: MIT
"""The redirect of the conformance instrument: who meets the implementation under the standard names, and who does not."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "conformance"))

pytest.importorskip("test.support", reason="this interpreter comes without its tests")
pytest.importorskip("plait.multiprocessing")
redirect = importlib.import_module("redirect")

#: Seconds for one child; far more than it takes, because the machine may be busy.
DEADLINE = 100
#: Says where two classes are from: the first two steps of the names of their modules.
FROM_PLAIT = (
    "import threading, queue; "
    "print(*('.'.join(cls.__module__.split('.')[:2]) for cls in (threading.Thread, queue.Queue)))"
)
EXPECTED = "plait.threading plait.queue"

# Prints what became of each test of the modules in argv, as JSON.
RUNNER = """\
import json, os, sys, unittest

class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.became = {}
    def startTest(self, test):
        super().startTest(test)
        self.became[test.id()] = "passed"
    def _note(self, test, word, why):
        self.became[test.id()] = f"{word}: {why if isinstance(why, str) else why[0].__name__ + ': ' + str(why[1])}"
    def addError(self, test, err):
        self._note(test, "error", err)
    def addFailure(self, test, err):
        self._note(test, "failed", err)
    def addSkip(self, test, reason):
        self._note(test, "skipped", reason)

result = Result()
unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:]).run(result)
print(json.dumps(result.became), flush=True)
os._exit(0)  # a test that failed may have left threads behind, for which the interpreter would wait
"""


class Environment:
    """A virtual environment with the redirect, and a folder that is the working directory of what runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = str(redirect.interpreter(folder))
        self.work = folder / "work"
        self.work.mkdir()
        self.runner = folder / "runner"
        self.runner.mkdir()
        (self.runner / "run.py").write_text(RUNNER)

    def add_plait(self) -> None:
        """Make the plait that these tests run with importable in it."""
        portions = importlib.import_module("plait").__path__
        lines = "".join(f"{Path(portion).parent}\n" for portion in portions)
        (redirect.site_packages(self.folder) / "implementation.pth").write_text(lines)

    def install(self, implementation: str | Path) -> None:
        redirect.install(self.folder, implementation, exempt=[self.runner])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """What the environment's Python says when it is given these arguments."""
        return said(self.start(*arguments))

    def program(self, code: str) -> str:
        return self.run("-c", textwrap.dedent(code))

    def outcomes(self, *modules: str) -> dict[str, str]:
        """What became of each test of these modules."""
        found: dict[str, str] = json.loads(self.run(str(self.runner / "run.py"), *modules))
        return found

    def module(self, name: str, code: str) -> None:
        """Write a module that is found on the path."""
        (redirect.site_packages(self.folder) / "samples.pth").write_text(f"{self.work}\n")
        (self.work / f"{name}.py").write_text(textwrap.dedent(code))


def said(process: subprocess.Popen[str]) -> str:
    """Its output, once it has ended well and in time."""
    try:
        out, err = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err}"
    return out.strip()


@pytest.fixture(scope="module")
def redirected(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the tests meet plait."""
    environment = Environment(tmp_path_factory.mktemp("redirected") / "environment")
    environment.add_plait()
    environment.install("plait")
    return environment


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with an implementation that lacks a good deal."""
    folder = tmp_path_factory.mktemp("partly")
    parts = {
        "queue": "class Queue: pass",
        "threading": "from threading import Event, Thread",
        "sched": "import sched\n\nscheduler = sched.scheduler",
        "multiprocessing/__init__": "",
        "multiprocessing/process": "limit = 1",
    }
    for name, code in parts.items():
        path = folder.joinpath("implementation", "plait", f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code + "\n")
    environment = Environment(folder / "environment")
    environment.install(folder / "implementation")
    return environment


# ------------------------------------------------------------------------------------------------------ which children


@pytest.mark.parametrize(
    "flags", ["", "-I", "-E", "-S", "-I -S", "-S -E -O", "-ESO", "-X utf8 -S", "-W error -I"]
)
def test_a_child_meets_the_implementation_whatever_its_flags(redirected: Environment, flags: str) -> None:
    said = redirected.program(
        f"""
        import subprocess, sys
        subprocess.run([sys.executable, *{flags.split()!r}, "-c", {FROM_PLAIT!r}], env={{}}, check=True)
        """
    )
    assert said == EXPECTED


@pytest.mark.parametrize(
    "start",
    [
        "os.waitpid(os.posix_spawn(sys.executable, command, os.environ), 0)",
        "os.execv(sys.executable, command)",
        "os.execle(sys.executable, *command, os.environ)",
        "os.spawnv(os.P_WAIT, sys.executable, command)",
        "logging.sys.modules['subprocess'].run(command, check=True)",
    ],
)
def test_a_child_without_site_is_redirected_however_it_is_started(
    redirected: Environment, start: str
) -> None:
    said = redirected.program(
        f"""
        import logging, os, sys
        import concurrent.futures as loads_ours, asyncio as loads_the_standard_subprocess
        command = [sys.executable, "-S", "-c", {FROM_PLAIT!r}]
        {start}
        """
    )
    assert said == EXPECTED


def test_a_grandchild_without_site_is_redirected(redirected: Environment) -> None:
    inner = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {FROM_PLAIT!r}], check=True)"
    )
    outer = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-E', '-c', {inner!r}], check=True)"
    )
    assert redirected.program(outer) == EXPECTED


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; print(sys.argv, sys.flags.no_site, __name__)", "['-c', 'a', '-S'] 1 __main__"),
        ("from __future__ import annotations\nprint(annotations.compiler_flag > 0)", "True"),
        (
            "\nx = 1\ndef f():\n    return x\n\nprint(f(), sorted(n for n in globals() if n[0] != '_'))",
            "1 ['f', 'x']",
        ),
    ],
)
def test_a_rewritten_child_is_otherwise_the_same(redirected: Environment, code: str, expected: str) -> None:
    said = redirected.program(
        f"""
        import subprocess, sys
        subprocess.run([sys.executable, "-S", "-c", {code!r}, "a", "-S"], check=True)
        """
    )
    assert said == expected


@pytest.mark.parametrize("call", ["['script.py', '1']", "['-m', 'script', '1']", "['-mscript', '1']"])
def test_a_script_without_site_is_redirected(redirected: Environment, call: str) -> None:
    script = "import queue, sys; print(queue.Queue.__module__[:11], sys.argv[1:], __name__)"
    (redirected.work / "script.py").write_text(script)
    said = redirected.program(
        f"import subprocess, sys; subprocess.run([sys.executable, '-S', *{call}], check=True)"
    )
    assert said == "plait.queue ['1'] __main__"


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_started_process_and_its_children_are_redirected(redirected: Environment, method: str) -> None:
    (redirected.work / "starts.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, subprocess, sys

            def report():
                print(__name__, flush=True)
                exec({FROM_PLAIT!r})
                sys.stdout.flush()
                subprocess.run([sys.executable, "-S", "-c", {FROM_PLAIT!r}], check=True)

            if __name__ == "__main__":
                process = multiprocessing.get_context({method!r}).Process(target=report)
                process.start()
                process.join()
            """
        )
    )
    name = "__mp_main__" if method == "spawn" else "__main__"
    assert redirected.run("starts.py").splitlines() == [name, EXPECTED, EXPECTED]


def test_a_program_in_a_zip_is_redirected(redirected: Environment) -> None:
    said = redirected.program(
        f"""
        import runpy, zipfile
        with zipfile.ZipFile("program.zip", "w") as archive:
            archive.writestr("__main__.py", "import inner")
            archive.writestr("inner.py", {FROM_PLAIT!r})
        runpy.run_path("program.zip", run_name="__main__")
        """
    )
    assert said == EXPECTED


# ---------------------------------------------------------------------------------------------------------- who sees it


def test_the_standard_library_keeps_its_own_modules(redirected: Environment) -> None:
    said = redirected.program(
        """
        import logging, sys, threading
        import concurrent.futures, asyncio
        print(logging.threading is sys.modules["threading"], logging.threading is threading)
        print(sys.modules["concurrent.futures"].Future is concurrent.futures.Future)
        """
    )
    assert said.split() == ["True", "False", "False"]


def test_the_runner_keeps_the_standard_modules(redirected: Environment) -> None:
    path = redirected.runner / "shows.py"
    path.write_text("import threading, sys; print(threading is sys.modules['threading'])")
    assert redirected.run(str(path)) == "True"


@pytest.mark.parametrize(
    "statement",
    [
        "from multiprocessing import queues as found",
        "import multiprocessing.queues as found",
        "import importlib; found = importlib.import_module('multiprocessing.queues')",
        "import pkgutil; found = pkgutil.resolve_name('multiprocessing.queues')",
        "import multiprocessing.queues; found = multiprocessing.queues",
        "found = __import__('multiprocessing.queues').queues",
        "from test.support.import_helper import import_module; found = import_module('multiprocessing.queues')",
        "exec('import multiprocessing.queues as found')",
        "from multiprocessing.queues import *; import types; found = types.SimpleNamespace(Queue=Queue)",
    ],
)
def test_every_way_to_import_reaches_the_implementation(redirected: Environment, statement: str) -> None:
    assert redirected.program(f"{statement}\nprint(found.Queue.__module__)").startswith(
        "plait.multiprocessing"
    )


def test_names_with_dots_are_those_of_the_standard_library(redirected: Environment) -> None:
    said = redirected.program(
        """
        import concurrent.futures, multiprocessing.connection
        from concurrent import futures
        print(concurrent.futures is futures, futures.__name__, multiprocessing.connection.__name__)
        for name in ("queue.nothing", "multiprocessing.nothing", "concurrent.nothing"):
            try:
                __import__(name)
            except ModuleNotFoundError as problem:
                print(problem.name)
        """
    )
    assert said.splitlines() == [
        "True concurrent.futures multiprocessing.connection",
        "queue.nothing",
        "multiprocessing.nothing",
        "concurrent.nothing",
    ]


def test_what_a_test_sets_is_set_in_the_implementation(redirected: Environment) -> None:
    said = redirected.program(
        """
        import queue, sys
        from unittest import mock
        ours = sys.modules["plait.queue"]
        queue.mark = 1
        print(ours.mark, vars(queue) is vars(ours), sorted(dir(queue)) == sorted(dir(ours)))
        del queue.mark
        print(hasattr(ours, "mark"))
        with mock.patch("queue.Queue", new=2):
            print(ours.Queue, queue.Queue)
        with mock.patch.object(queue, "Queue", new=3):
            print(ours.Queue)
        print(ours.Queue.__name__, hasattr(sys.modules.get("queue"), "mark"))
        """
    )
    assert said.split() == ["1", "True", "True", "False", "2", "2", "3", "Queue", "False"]


def test_a_fresh_queue_without_the_c_module_is_another_one_in_python(redirected: Environment) -> None:
    said = redirected.program(
        """
        import queue, sys
        from test.support.import_helper import import_fresh_module
        other = import_fresh_module("queue", blocked=["_queue"])
        print(other.Queue.__module__[:11], other.Queue is queue.Queue, type(other.SimpleQueue.put).__name__)
        print(other._PySimpleQueue is other.SimpleQueue, sys.modules["plait.queue"].Queue is queue.Queue)
        """
    )
    assert said.splitlines() == ["plait.queue False function", "True True"]


def test_the_helper_that_catches_exceptions_of_threads_catches_ours(redirected: Environment) -> None:
    said = redirected.program(
        """
        import threading
        from test.support import threading_helper
        def fail():
            raise ValueError("caught")
        with threading_helper.catch_threading_exception() as caught:
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
            print(caught.exc_value, caught.thread is thread)
        """
    )
    assert said == "caught True"


def test_futures_in_a_given_state_are_made_by_public_means(redirected: Environment) -> None:
    said = redirected.program(
        """
        from concurrent.futures import Future
        from concurrent.futures._base import CANCELLED, FINISHED, RUNNING, Future as Private
        def create_future(state, exception=None, result=None):
            future = Private()
            future._state = state
            future._exception = exception
            future._result = result
            return future
        print(create_future(CANCELLED).cancelled(), create_future(RUNNING).running())
        print(create_future(FINISHED, result=5).result(), create_future(FINISHED, OSError(6)).exception())
        print(issubclass(Private, Future))
        """
    )
    assert said.splitlines() == ["True True", "5 6", "True"]


# ------------------------------------------------------------------------------------------------------ what is missing


def test_a_missing_name_costs_only_the_tests_that_need_it(partly: Environment) -> None:
    partly.module(
        "test_partly",
        """
        import queue, unittest
        import multiprocessing.pool, multiprocessing.reduction
        from multiprocessing.managers import BaseManager
        from queue import LifoQueue, Queue

        class Manager(BaseManager):
            limit = queue.PriorityQueue.maxsize + 1

        Manager.register("Lifo", LifoQueue)

        class Base:
            Lifo = staticmethod(queue.LifoQueue)

        @unittest.skipUnless(queue.SimpleQueue, "no such queue")
        class PartlyTest(Base, unittest.TestCase):
            def test_what_is_there(self):
                self.assertIsInstance(queue.Queue(), Queue)
            def test_base(self):
                Manager()
            def test_class_attribute(self):
                self.Lifo()
            def test_module_attribute(self):
                queue.LifoQueue
            def test_submodule(self):
                multiprocessing.pool.ThreadPool
            def test_it_is_missed(self):
                self.assertFalse(hasattr(queue, "LifoQueue"))
            @queue.LifoQueue
            def test_decorated(self):
                self.fail("not reached")
            @unittest.skipIf(multiprocessing.reduction.HAVE_SEND_HANDLE, "as with the standard modules")
            def test_what_the_system_can_do(self):
                self.fail("not reached")
        """,
    )
    became = {key.rpartition(".")[2]: value for key, value in partly.outcomes("test_partly").items()}
    assert became == {
        "test_what_is_there": "passed",
        "test_it_is_missed": "passed",
        "test_what_the_system_can_do": "skipped: as with the standard modules",
        "test_base": "error: Absent: multiprocessing.managers.BaseManager()",
        "test_class_attribute": "error: Absent: queue.LifoQueue()",
        "test_decorated": "error: Absent: queue.LifoQueue()()",
        "test_module_attribute": "error: AttributeError: module 'queue' has no attribute 'LifoQueue'",
        "test_submodule": "error: AttributeError: module 'multiprocessing.pool' has no attribute 'ThreadPool'",
    }


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("import queue; queue.LifoQueue", "AttributeError"),
        ("from queue import LifoQueue", "ImportError"),
        ("from multiprocessing.pool import Pool", "ImportError"),
        ("import subprocess", "ModuleNotFoundError"),
        ("import queue; queue.no_such_name", "AttributeError"),
    ],
)
def test_a_program_is_told_at_once_what_is_missing(partly: Environment, statement: str, error: str) -> None:
    said = partly.program(
        f"try:\n    {statement}\nexcept Exception as problem:\n    print(type(problem).__name__)"
    )
    assert said == error


def test_a_test_module_that_imports_a_name_nobody_has_fails(partly: Environment) -> None:
    partly.module("test_typo", "from queue import Quue")
    (said,) = partly.outcomes("test_typo").values()
    assert "cannot import name 'Quue'" in said


def test_scaffolding_is_for_set_up_only(partly: Environment) -> None:
    partly.module(
        "test_scaffold",
        """
        import multiprocessing.process, threading, unittest

        def setUpModule():
            multiprocessing.process._cleanup()
            set(threading._dangling)

        class ScaffoldTest(unittest.TestCase):
            def test_name(self):
                self.assertFalse(hasattr(threading, "_dangling"))
        """,
    )
    assert partly.outcomes("test_scaffold") == {"test_scaffold.ScaffoldTest.test_name": "passed"}


# ---------------------------------------------------------------------------------------------------------- the tool


def test_packages_that_an_interpreter_left_out_are_made(redirected: Environment) -> None:
    said = redirected.program(
        """
        try:
            import test.test_multiprocessing_fork as package
        except ImportError:
            package = None
        if hasattr(package, "__path__"):
            import test.test_multiprocessing_fork.test_misc as module
        else:
            module = package
        print(callable(module.setUpModule), module.TestWait.__module__ == module.__name__)
        """
    )
    assert said.split() == ["True", "True"]


@pytest.fixture(scope="module", autouse=True)
def instrument(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, str]]]:
    """What became of the tests of test_sched and test_queue; all environments run at the same time.

    They mostly sleep, so they are begun first and looked at last: other tests may run meanwhile.
    """
    folder = tmp_path_factory.mktemp("instrument")
    started: dict[str, subprocess.Popen[str]] = {}
    for name in ("standard", "pass-through", "sabotaged"):
        environment = Environment(folder / name)
        implementation: str | Path = name
        if name != "standard":
            implementation = redirect.pass_through(folder / "implementations" / name, environment.python)
        if name == "sabotaged":
            original = implementation
            implementation = redirect.sabotaged(folder / "implementations" / "broken", original)
        environment.install(implementation)
        started[name] = environment.start(
            str(environment.runner / "run.py"), "test.test_sched", "test.test_queue"
        )
    results: dict[str, dict[str, str]] = {}

    def outcome(name: str) -> dict[str, str]:
        if name not in results:
            results[name] = json.loads(said(started[name]))
        return results[name]

    yield outcome
    for name in started.keys() - results.keys():
        started[name].kill()
        started[name].communicate()


def test_a_pass_through_gives_the_results_of_the_standard_modules(
    instrument: Callable[[str], dict[str, str]],
) -> None:
    assert len(instrument("standard")) > 40
    assert instrument("pass-through") == instrument("standard")


def test_a_join_that_returns_at_once_is_seen(instrument: Callable[[str], dict[str, str]]) -> None:
    lost = {name for name, what in instrument("sabotaged").items() if instrument("standard")[name] != what}
    assert {name.rpartition(".")[2] for name in lost} == {"test_queue_join"}


def test_one_part_of_plait_can_be_sabotaged(redirected: Environment, tmp_path: Path) -> None:
    original = tmp_path / "original"
    for portion in importlib.import_module("plait").__path__:
        for part in Path(portion).iterdir():
            if part.name == "queue":
                (original / "plait").mkdir(parents=True)
                (original / "plait" / "queue").symlink_to(part)
    broken = redirect.sabotaged(tmp_path / "broken", original, "queue", "Queue.join = lambda self: 'broken'")
    environment = Environment(tmp_path / "environment")
    environment.add_plait()
    environment.install("plait")
    program = "import queue; print(queue.Queue.__module__[:11], queue.Queue().join())"
    assert environment.run("-c", program) == "plait.queue True"
    # Only this part is in the folder, so it needs the others from the path.
    for portion in importlib.import_module("plait").__path__:
        for part in Path(portion).iterdir():
            if part.is_dir() and part.name != "__pycache__" and not (broken / "plait" / part.name).exists():
                (broken / "plait" / part.name).symlink_to(part)
    environment.install(broken)
    assert environment.run("-c", program) == "plait.queue broken"


def test_an_empty_folder_is_no_implementation(redirected: Environment, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no implementation"):
        redirect.install(redirected.folder, tmp_path)
    with pytest.raises(ValueError, match="holds no implementation"):
        redirect.sabotaged(tmp_path / "broken", tmp_path)


def test_what_was_installed_can_be_taken_out(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment")
    before = sorted(path.name for path in redirect.site_packages(environment.folder).iterdir())
    environment.install("standard")
    redirect.uninstall(environment.folder)
    assert sorted(path.name for path in redirect.site_packages(environment.folder).iterdir()) == before
    assert environment.run("-c", "import queue; print(queue.Queue.__module__)") == "queue"
