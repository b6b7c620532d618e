# SPDX-License-Identifier: MIT
# The part that runs in the child, with the interpreter under test: it loads one module of the interpreter's own tests
# and writes down, as it happens, what becomes of each test.
#
# Rules
#   - It is the main program of the tests, and so of every child that they spawn: those import it again, as
#     `__mp_main__`. Nothing but `sys` is imported at the top, so that this costs them nothing and disturbs nothing.
#   - It imports none of the modules under test, and keeps no descriptor open, because tests count them: the journal is
#     opened anew for every line.
#   - A forked child that comes back up to here by mistake writes nothing: the journal belongs to one process.
#   - It runs on every supported interpreter, PyPy included, with nothing installed.
"""Run or list the tests of one module: `inside.py PLAN`, where PLAN is a JSON file that names the module and the journal."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A traceback in the journal is cut in its middle to this many characters.
LONGEST = 16_000

#: The modules of a test package of multiprocessing, where it had to be made at run time.
MADE = ("test_processes", "test_threads", "test_manager", "test_misc")


def shorten(text: str) -> str:
    """The beginning and the end of a text that is too long."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def label(name: str) -> str:
    """`test_queue.QueueTest.test_x` of `test.test_queue.QueueTest.test_x`."""
    return name.removeprefix("test.")


class Journal:
    """One line of JSON per event, each written by itself, so that a killed process loses none."""

    def __init__(self, path: str) -> None:
        import os

        self._path = path
        self._owner = os.getpid()

    def write(self, event: str, **fields: object) -> None:
        import json
        import os

        if os.getpid() != self._owner:
            return
        line = json.dumps({"event": event, **fields}) + "\n"
        where = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(where, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(where)


def said_so_far() -> int | None:
    """How long the log is; a test may have closed it, or put something else in its place."""
    import os

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue
    try:
        return os.fstat(2).st_size
    except OSError:
        return None


def traceback_of(error: Any) -> str:
    import traceback

    try:
        return shorten("".join(traceback.format_exception(*error)))
    except Exception as trouble:  # noqa: BLE001 - the exceptions under test have methods of their own
        return f"{error[0]!r} (its traceback cannot be shown: {trouble!r})"


def recorder(journal: Journal, module: str) -> object:
    """A unittest result that keeps the journal. Made here because unittest must not be imported with this module."""
    import re
    import time
    import unittest

    worst_first = ("error", "fail", "skip", "expected failure", "pass")

    class Recorder(unittest.TestResult):
        current: str | None = None

        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
            super().startTest(test)
            self.current = test_id(test, module)
            self.seen: list[tuple[str, str]] = []
            journal.write("start", id=self.current, log=said_so_far())
            self.begun = time.monotonic()

        def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
            if sys.exc_info()[1] is not None and not self.seen:
                return  # what unittest lets through (KeyboardInterrupt) is on its way: there is no verdict
            seconds = round(time.monotonic() - self.begun, 3)
            outcome = next((kind for kind in worst_first if any(kind == k for k, _ in self.seen)), "pass")
            details = [detail for kind, detail in self.seen if kind == outcome and detail]
            more = f"\n[{len(details) - 1} more of the same kind]" if len(details) > 1 else ""
            journal.write(
                "end",
                id=self.current,
                outcome=outcome,
                seconds=seconds,
                detail=(details[0] + more) if details else "",
                log=said_so_far(),
            )
            self.current = None
            super().stopTest(test)

        def note(self, test: object, kind: str, detail: str = "") -> None:
            if self.current is not None:
                self.seen.append((kind, detail))
                return
            # Not a test but a fixture: unittest names it "setUpClass (package.module.Class)".
            named = str(getattr(test, "id", lambda: test)())
            match = re.match(r"(\w+) \((.+)\)$", named)
            what, where = match.groups() if match else ("fixture", named)
            journal.write("fixture", what=what, where=label(where), outcome=kind, detail=detail)

        def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            self.note(test, "pass")

        def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            self.note(test, "fail", traceback_of(err))

        def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            self.note(test, "error", traceback_of(err))

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
            # A part of a test that is skipped leaves the rest of it as it is.
            if not hasattr(test, "test_case"):
                self.note(test, "skip", str(reason))

        def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            self.note(test, "expected failure", traceback_of(err))

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            self.note(test, "fail", "unexpected success: the test is marked as an expected failure")

        def addSubTest(self, test: unittest.TestCase, subtest: object, err: Any) -> None:  # noqa: N802
            if err is not None:
                kind = "fail" if issubclass(err[0], test.failureException) else "error"
                self.note(test, kind, f"{subtest}\n{traceback_of(err)}")

    return Recorder()


def test_id(test: object, module: str) -> str:
    """The identity of a test, which begins with its module whatever made the test (a doctest, a failed import)."""
    identity = label(str(test.id()))  # type: ignore[attr-defined]
    return identity if identity.startswith(f"{label(module)}.") else f"{label(module)}.{identity}"


def flatten(suite: object) -> list[object]:
    try:
        inner = iter(suite)  # type: ignore[call-overload]
    except TypeError:
        return [suite]
    return [test for part in inner for test in flatten(part)]


def prepare(resources: list[str]) -> None:
    """What the interpreter's own runner sets up before tests, as far as these tests need it."""
    import faulthandler
    import signal

    from test import support

    faulthandler.enable(all_threads=True)
    if hasattr(signal, "SIGUSR1"):  # asks for the stacks of a hang without ending it
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    support.verbose = 0
    support.use_resources = list(resources)
    support.record_original_stdout(sys.stdout)


def shape(names: list[str]) -> dict[str, list[str]]:
    """Table name -> what to import for it: one module, the modules of a package, or nothing where it is not shipped."""
    import importlib.util
    import os

    found: dict[str, list[str]] = {}
    for name in names:
        spec = importlib.util.find_spec(f"test.{name}")
        if spec is None:
            found[name] = []
        elif spec.submodule_search_locations is None:
            found[name] = [f"test.{name}"]
        else:
            inner = {
                file[:-3]
                for folder in spec.submodule_search_locations
                if os.path.isdir(folder)
                for file in os.listdir(folder)
                if file.startswith("test_") and file.endswith(".py")
            }
            # A package that was made at run time, because only its contents are shipped, has no folder to look into.
            inner = inner or {m for m in MADE if importlib.util.find_spec(f"test.{name}.{m}")}
            found[name] = [f"test.{name}.{module}" for module in sorted(inner)]
    return found


def run(plan: dict[str, object]) -> None:
    import importlib
    import unittest

    journal = Journal(str(plan["journal"]))
    module = str(plan["module"])
    prepare(plan["resources"])  # type: ignore[arg-type]
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))
    except unittest.SkipTest as reason:
        journal.write("import", outcome="skip", detail=str(reason))
        return
    except BaseException:  # noqa: BLE001 - whatever a test module does at import becomes the outcome of its tests
        journal.write("import", outcome="error", detail=traceback_of(sys.exc_info()))
        return
    tests = flatten(suite)
    wanted = plan.get("tests")
    if wanted is not None:
        names = set(wanted)  # type: ignore[call-overload]
        tests = [test for test in tests if test_id(test, module) in names]
    journal.write("loaded", tests=[test_id(test, module) for test in tests])
    if plan["mode"] == "run":
        result = recorder(journal, module)
        try:
            unittest.TestSuite(tests).run(result)  # type: ignore[arg-type]
        except BaseException:
            journal.write("escaped", detail=traceback_of(sys.exc_info()))
            raise
    journal.write("done", log=said_so_far())


def main(path: str) -> None:
    import json

    # The folder of this file would let its neighbours be imported by the tests.
    del sys.path[0]
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    if plan["mode"] == "shape":
        Journal(plan["journal"]).write("shape", modules=shape(plan["names"]))
    else:
        run(plan)


if __name__ == "__main__":
    main(sys.argv[1])
