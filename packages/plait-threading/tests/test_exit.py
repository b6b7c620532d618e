# SPDX-License-Identifier: MIT
"""What happens at the end of the process, with and without the standard module."""

from __future__ import annotations

import builtins
import os
import sys

import pytest

IMPORTS = {
    "never": ("", ""),
    "before": ("import threading", ""),
    "after": ("", "import threading"),
}


@pytest.mark.parametrize("when", IMPORTS)
def test_exit_runs_hooks_last_first_then_joins_threads(run_script, when):
    before, after = IMPORTS[when]
    ended = run_script(rf"""
        {before}
        import sys
        import {{threading}} as t
        go = t.Event()
        def work():
            go.wait(); sys.stdout.write("work done\n")
        t.Thread(target=work).start()
        {after}
        t.register_atexit(sys.stdout.write, "first registered\n")
        t.register_atexit(lambda: (sys.stdout.write("last registered\n"), go.set()))
    """)
    lines = ended.out.split("\n")
    assert lines[0] == "last registered"
    assert sorted(lines[1:3]) == ["first registered", "work done"]
    assert (ended.returncode, ended.err) == (0, "")


@pytest.mark.parametrize("when", ["before", "after"])
def test_exit_hooks_come_before_atexit_callbacks_if_the_standard_module_is_loaded(run_script, when):
    before, after = IMPORTS[when]
    ended = run_script(f"""
        {before}
        import atexit
        import {{threading}} as t
        t.Thread(target=int).start()
        {after}
        t.register_atexit(print, "hook")
        atexit.register(print, "atexit")
    """)
    assert ended.out.split() == ["hook", "atexit"]


def test_exit_does_not_hang_if_the_standard_module_is_imported_after_the_last_start(run_script):
    ended = run_script("""
        import {threading} as t
        go = t.Event()
        t.Thread(target=go.wait).start()
        t.register_atexit(go.set)
        import threading
    """)
    assert (ended.returncode, ended.err) == (0, "")


@pytest.mark.parametrize("when", IMPORTS)
def test_exit_does_not_wait_for_daemon_threads(run_script, when):
    before, after = IMPORTS[when]
    ended = run_script(f"""
        {before}
        import {{threading}} as t
        t.Thread(target=t.Event().wait, daemon=True).start()
        {after}
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_exit_reports_a_failing_hook_and_runs_the_others(run_script):
    ended = run_script("""
        import {threading} as t
        t.register_atexit(print, "still runs")
        t.register_atexit(lambda: 1 / 0)
    """)
    assert ended.out == "still runs\n"
    assert "ZeroDivisionError" in ended.err
    assert ended.returncode == 0


@pytest.mark.parametrize("when", ["never", "before"])
def test_exit_joins_threads_that_threads_start_meanwhile(run_script, when):
    ended = run_script(f"""
        {IMPORTS[when][0]}
        import {{threading}} as t
        main_ends = t.Event()
        t.register_atexit(main_ends.set)
        def first():
            main_ends.wait()
            try:
                t.Thread(target=print, args=("second",)).start()
            except RuntimeError as error:
                print("second" if "ending" in str(error) else error)
        t.Thread(target=first).start()
    """)
    assert ended.out == "second\n"
    assert ended.returncode == 0


def test_unregistered_hooks_are_not_called(run_script):
    ended = run_script("""
        import {threading} as t
        def hook(): print("called")
        t.register_atexit(hook); t.register_atexit(hook)
        t.unregister_atexit(hook); t.unregister_atexit(print)
    """)
    assert ended.out == ""


def test_run_exit_hooks_does_everything_once_also_in_a_forked_child(run_script):
    ended = run_script("""
        import os, threading
        import {threading} as t
        def say(word): os.write(1, word.encode() + b"\\n")
        t.register_atexit(lambda: say("hook"))
        pid = os.fork()
        if not pid:
            go = t.Event()
            t.register_atexit(go.set)
            def work():
                go.wait(); say("joined")
            t.Thread(target=work).start()
            std = threading.Thread(target=lambda: say("standard joined")); std.start()
            t.run_exit_hooks(); t.run_exit_hooks()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        say("parent")
    """)
    lines = ended.out.split("\n")
    assert sorted(lines[:3]) == ["hook", "joined", "standard joined"]
    assert lines[3:5] == ["parent", "hook"]
    assert (ended.returncode, ended.err) == (0, "")


@pytest.mark.parametrize("ends_by", ["run_exit_hooks", "returning"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_the_thread_that_forked_can_be_joined_as_the_main_thread(run_script, ends_by):
    ended = run_script(f"""
        import os
        import {{threading}} as t
        def watch():
            t.main_thread().join(10)
            os.write(1, b"hung" if t.main_thread().is_alive() else b"joined")
            {"" if ends_by == "run_exit_hooks" else "os._exit(0)"}
        def fork():
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
                return
            t.Thread(target=watch).start()
            if {ends_by == "run_exit_hooks"}:
                t.run_exit_hooks()
                os._exit(0)
        t.Thread(target=fork).start()
    """)
    assert (ended.returncode, ended.out) == (0, "joined"), ended.err
    assert "Traceback" not in ended.err


def test_a_daemon_thread_that_first_imports_the_standard_module_does_not_hold_up_the_exit(run_script):
    done = run_script(
        """
        import sys, time
        from {threading} import Event, Thread, current_thread
        assert "threading" not in sys.modules
        imported = Event()
        def work():
            import threading
            assert current_thread().name == threading.current_thread().name
            imported.set()
            time.sleep(1000)
        Thread(target=work, daemon=True).start()
        assert imported.wait(10)
        print("the end")
        """
    )
    assert (done.returncode, done.out, done.err) == (0, "the end\n", "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="has no sub-interpreters")
def test_a_sub_interpreter_waits_for_threads_that_are_still_leaving(run_script):
    done = run_script(
        """
        import sys
        try:
            from _testcapi import run_in_subinterp
        except ImportError:
            raise SystemExit(0)
        source = '''if True:
            import sys, time
            sys.path[:] = %r
            import threading
            from {threading} import Thread, local
            class Slow:
                def __del__(self):
                    time.sleep(0.2)
            mine = local()
            def work():
                mine.slow = Slow()
            for _ in range(3):
                Thread(target=work).start()
        ''' % (sys.path,)
        assert run_in_subinterp(source) == 0
        """
    )
    assert (done.returncode, done.out, done.err) == (0, "", "")


@pytest.mark.skipif(
    sys.version_info < (3, 13) or sys.implementation.name != "cpython", reason="has no such call"
)
def test_a_sub_interpreter_without_daemons_waits_for_the_threads_of_any_thread(run_script):
    done = run_script(
        """
        import sys, _interpreters
        from {threading} import Thread
        source = '''if True:
            import sys, time
            sys.path[:] = %r
            from {threading} import Thread, current_thread
            assert not current_thread().daemon
            for _ in range(3):
                Thread(target=time.sleep, args=(0.01,)).start()
        ''' % (sys.path,)
        def work():
            inner = _interpreters.create("isolated")
            try:
                return _interpreters.exec(inner, source)
            finally:
                _interpreters.destroy(inner)
        thread = Thread(target=work)
        thread.start()
        print(thread.result(20))
        """
    )
    assert (done.returncode, done.out, done.err) == (0, "None\n", "")


def test_a_daemon_that_the_end_of_the_interpreter_cuts_off_is_not_waited_for(run_script):
    if not hasattr(builtins, "PythonFinalizationError"):
        pytest.skip("such a thread has ended, for older interpreters")
    done = run_script(
        """
        import {threading} as t
        class Cycle:
            def __init__(self):
                self.me = self
                self.thread = t.Thread(target=t.Event().wait, daemon=True); self.thread.start()
                self.ended = t.Thread(target=int, daemon=True); self.ended.start(); self.ended.join()
            def __del__(self):
                print(self.thread.is_alive(), self.ended.is_alive(), self.ended.join(), self.ended.result())
                for timeout in (None, 10):
                    try: self.thread.join(timeout)
                    except PythonFinalizationError: print("refused", self.thread.is_alive())
        Cycle()
        """
    )
    assert (done.returncode, done.err) == (0, "")
    assert done.out == "True False None 0\nrefused True\nrefused True\n"
