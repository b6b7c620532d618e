# SPDX-License-Identifier: MIT
"""The Windows side, against a simulated Windows: which calls it makes, and what becomes of every handle."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import simulated_winapi
from patience import LIMITS, SOON, late
from simulated_winapi import until

from plait.subprocess import Popen, run

PACKAGE = Popen.__module__
PIPE, STDOUT, DEVNULL = -1, -2, -3
BIG = bytes(range(256)) * 4000  # a megabyte: more than any pipe holds
PYTHON = [sys.executable, "-I", "-S", "-c"]

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd") or not hasattr(os, "posix_spawn"),
    reason="the simulation stands on /proc and posix_spawn",
)


def descriptors():
    return {
        name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _there(name)
    }


def _there(name):
    return os.path.lexists(f"/proc/self/fd/{name}")


@pytest.fixture
def windows():
    """The simulation with our package in it, `windows.piece`. Nothing may be left open in it."""
    before = descriptors()
    with simulated_winapi.installed(PACKAGE) as (simulation, piece):
        simulation.piece = piece
        yield simulation
        if simulation.open_handles():
            gc.collect()
        assert until(lambda: not simulation.open_handles()), simulation.problems()
        assert simulation.problems() == []
    assert until(lambda: descriptors().keys() <= before.keys())


# -- names -----------------------------------------------------------------------------------------------------------

WINDOWS_NAMES = {
    name for name in simulated_winapi.CONSTANTS if name.startswith(("STARTF", "STD_", "SW_", "CREATE_"))
}
WINDOWS_NAMES |= {name for name in simulated_winapi.CONSTANTS if name.endswith("PRIORITY_CLASS")}
WINDOWS_NAMES |= {"DETACHED_PROCESS", "STARTUPINFO"}


def test_the_names_of_windows_are_there_and_nowhere_else(windows):
    elsewhere = importlib.import_module(PACKAGE + "._popen").__dict__
    assert set(windows.piece.__all__) >= WINDOWS_NAMES
    for name in WINDOWS_NAMES - {"STARTUPINFO"}:
        assert getattr(windows.piece, name) == simulated_winapi.CONSTANTS[name], name
    assert not WINDOWS_NAMES & set(elsewhere)
    assert windows.piece.ProcessHandle.__name__ == "WindowsProcessHandle"


def test_the_names_of_windows_are_not_there_without_windows():
    piece = importlib.import_module(PACKAGE)
    assert not WINDOWS_NAMES & (set(piece.__all__) | set(dir(piece)))
    assert set(piece.__all__) <= set(dir(piece))


def test_public_methods_are_documented(windows):
    for name in windows.piece.__all__:
        thing = getattr(windows.piece, name)
        if inspect.isclass(thing):
            assert thing.__doc__, name
            for each, member in vars(thing).items():
                assert each.startswith("_") or not callable(member) or member.__doc__, f"{name}.{each}"


# -- the command line --------------------------------------------------------------------------------------------------


def test_a_list_becomes_a_command_line_and_arrives_unchanged(windows):
    args = ["", "a b", 'say "x"', "back\\", "tab\there", 'x\\"y']
    code = "import sys; sys.stdout.write(repr(sys.argv[1:]))"
    result = windows.piece.run([*PYTHON, code, *args], capture_output=True, text=True)
    assert eval(result.stdout) == args
    created = windows.created[-1]
    assert created.application is None
    assert created.line == windows.piece.list2cmdline([*PYTHON, code, *args])


@pytest.mark.parametrize("args", ["echo one  two", ["echo", "one"], b"echo", Path("echo")], ids=repr)
def test_every_kind_of_arguments_starts_something(windows, args):
    result = windows.piece.run(args, stdout=PIPE)
    assert result.returncode == 0
    if isinstance(args, str):
        assert windows.created[-1].line == args


def test_executable_is_the_application_and_the_line_is_left_alone(windows):
    assert windows.piece.run(["whatever", "x"], executable=b"/bin/echo", stdout=PIPE).stdout == b"x\n"
    assert windows.created[-1].application == "/bin/echo"
    assert windows.created[-1].line == "whatever x"


def test_the_shell_is_comspec_and_has_no_window(windows):
    assert windows.piece.run("echo one; echo two", shell=True, stdout=PIPE, text=True).stdout == "one\ntwo\n"
    created = windows.created[-1]
    assert created.application == simulated_winapi.COMSPEC
    assert created.line == f'{simulated_winapi.COMSPEC} /c "echo one; echo two"'
    assert created.info.dwFlags & windows.piece.STARTF_USESHOWWINDOW
    assert created.info.wShowWindow == windows.piece.SW_HIDE


def test_a_window_that_the_caller_wants_is_not_hidden(windows):
    info = windows.piece.STARTUPINFO(dwFlags=windows.piece.STARTF_USESHOWWINDOW, wShowWindow=1)
    windows.piece.run("true", shell=True, startupinfo=info)
    assert windows.created[-1].info.wShowWindow == 1


def test_without_comspec_the_shell_is_that_of_systemroot(windows, monkeypatch):
    monkeypatch.setenv("COMSPEC", "")
    monkeypatch.setenv("SYSTEMROOT", r"D:\Win")
    windows.piece.run("true", shell=True)
    assert windows.created[-1].application == r"D:\Win\System32\cmd.exe"
    monkeypatch.delenv("SYSTEMROOT")
    with pytest.raises(FileNotFoundError, match="COMSPEC"):
        windows.piece.run("true", shell=True)
    monkeypatch.setenv("COMSPEC", "cmd.exe")
    with pytest.raises(FileNotFoundError, match="absolute"):
        windows.piece.run("true", shell=True)


@pytest.mark.parametrize("args", [b"true", Path("true")])
def test_the_shell_takes_no_bytes_and_no_path(windows, args):
    with pytest.raises(TypeError, match="shell=True"):
        windows.piece.Popen(args, shell=True)


def test_get_output_and_its_status(windows):
    assert windows.piece.getstatusoutput("echo x; echo y >&2; exit 3") == (3, "x\ny")


# -- what else CreateProcess is told -------------------------------------------------------------------------------------


def test_flags_folder_and_environment_are_passed_on(windows, tmp_path):
    flags = windows.piece.CREATE_NO_WINDOW | windows.piece.CREATE_NEW_PROCESS_GROUP
    result = windows.piece.run(
        ["/bin/sh", "-c", "pwd; echo $A"], cwd=tmp_path, env={"A": "b c"}, creationflags=flags, stdout=PIPE
    )
    assert result.stdout.decode().split("\n") == [str(tmp_path), "b c", ""]
    created = windows.created[-1]
    assert (created.flags, created.cwd, created.env) == (flags, str(tmp_path), {"A": "b c"})


def test_errors_name_what_is_missing(windows):
    with pytest.raises(FileNotFoundError) as missing:
        windows.piece.run(["no-such-program", "x"], stdout=PIPE)
    assert (missing.value.filename, missing.value.winerror) == ("no-such-program", 2)
    with pytest.raises(NotADirectoryError) as folder:
        windows.piece.run(["true"], cwd="/no/such/folder", stdin=PIPE)
    assert folder.value.filename == "/no/such/folder"
    with pytest.raises(TypeError, match="creationflags"):
        windows.piece.run(["true"], creationflags="x", stdin=PIPE)
    with pytest.raises(ValueError, match="null"):
        windows.piece.run(["tr\0ue"], stdin=PIPE)


@pytest.mark.parametrize(
    "options",
    [
        {"preexec_fn": print},
        {"start_new_session": True},
        {"process_group": 0},
        {"pass_fds": (0,)},
        {"user": "x"},
        {"group": 0},
        {"extra_groups": []},
        {"umask": 0},
    ],
    ids=str,
)
def test_what_windows_cannot_do_is_refused(windows, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is not supported on Windows"):
        windows.piece.Popen(["true"], stdin=PIPE, **options)
    assert not windows.created


def test_audit_hooks_are_told(windows):
    seen = []
    sys.addaudithook(lambda event, args: seen.append(args) if event == "subprocess.Popen" else None)
    windows.piece.run("true", shell=True, cwd="/", env={"A": "b", "PATH": "/bin"})
    line = f'{simulated_winapi.COMSPEC} /c "true"'
    assert seen == [(simulated_winapi.COMSPEC, line, "/", {"A": "b", "PATH": "/bin"})]


# -- who inherits what ---------------------------------------------------------------------------------------------------


def test_a_child_inherits_nothing_but_its_standard_streams(windows):
    windows.piece.run(["true"], capture_output=True)
    created = windows.created[-1]
    assert created.inherit
    assert sorted(created.listed) == created.inheritable  # and what is inheritable is that alone
    assert set(created.standard) == set(created.listed)
    assert created.info.dwFlags == windows.piece.STARTF_USESTDHANDLES


def test_without_redirection_nothing_is_inherited(windows):
    windows.piece.run(["true"])
    created = windows.created[-1]
    assert (created.inherit, created.listed, created.standard) == (False, [], (None, None, None))


def test_with_close_fds_false_everything_is_inherited_and_there_is_no_list(windows):
    windows.piece.run(["true"], close_fds=False)
    assert (windows.created[-1].inherit, windows.created[-1].listed) == (True, [])
    windows.piece.run(["true"], close_fds=False, stdout=PIPE)
    assert (windows.created[-1].inherit, windows.created[-1].listed) == (True, [])


def test_one_handle_for_two_streams_stands_once_in_the_list(windows):
    assert windows.piece.run("echo x >&2", shell=True, stdout=PIPE, stderr=STDOUT).stdout == b"x\n"
    created = windows.created[-1]
    assert created.standard[1] == created.standard[2]
    assert len(created.listed) == len(set(created.listed)) == 2


def test_handles_in_the_callers_list_are_inherited_too(windows):
    own = windows.new(simulated_winapi.File(os.open(os.devnull, os.O_RDWR)), inheritable=True)
    info = windows.piece.STARTUPINFO(lpAttributeList={"handle_list": [own]})
    windows.piece.run(["true"], startupinfo=info, stdout=PIPE)
    assert windows.created[-1].listed[0] == own
    assert len(windows.created[-1].listed) == 4
    with pytest.warns(RuntimeWarning, match="overriding close_fds"):
        windows.piece.run(["true"], startupinfo=info, close_fds=False)
    assert windows.created[-1].listed == [own]
    # The caller's object is as it was.
    assert (info.dwFlags, info.hStdOutput, info.lpAttributeList) == (0, None, {"handle_list": [own]})
    windows.CloseHandle(own)


def test_a_handle_that_cannot_be_inherited_is_an_error_and_leaves_nothing(windows):
    own = windows.new(simulated_winapi.File(os.open(os.devnull, os.O_RDWR)))
    info = windows.piece.STARTUPINFO(lpAttributeList={"handle_list": [own]})
    with pytest.raises(OSError, match="parameter") as refused:
        windows.piece.run(["true"], startupinfo=info, capture_output=True)
    assert refused.value.winerror == 87
    windows.CloseHandle(own)


def test_standard_handles_of_startupinfo_are_used_as_they_are(windows):
    read_end, write_end = os.pipe()
    out = windows.new(simulated_winapi.File(write_end), inheritable=True)
    info = SimpleNamespace(  # as the standard module's class: whatever has the attributes
        dwFlags=windows.piece.STARTF_USESTDHANDLES,
        hStdInput=None,
        hStdOutput=out,
        hStdError=None,
        wShowWindow=0,
        lpAttributeList={"handle_list": [out]},
    )
    windows.piece.run(["echo", "x"], startupinfo=info)
    windows.CloseHandle(out)
    with open(read_end) as stream:
        assert stream.read() == "x\n"


def test_a_copy_of_startupinfo_shares_nothing(windows):
    info = windows.piece.STARTUPINFO(
        dwFlags=1, hStdInput=2, wShowWindow=3, lpAttributeList={"handle_list": [4]}
    )
    copy = info.copy()
    copy.lpAttributeList["handle_list"].append(5)
    assert info.lpAttributeList == {"handle_list": [4]}
    assert (copy.dwFlags, copy.hStdInput, copy.wShowWindow) == (1, 2, 3)
    with pytest.raises(TypeError):
        windows.piece.STARTUPINFO(1)


# -- the standard streams --------------------------------------------------------------------------------------------------


def test_streams_may_be_files_descriptors_and_nothing(windows, tmp_path):
    (tmp_path / "in").write_text("given\n")
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as target:
        windows.piece.run(
            "cat; echo gone >&2", shell=True, stdin=source.fileno(), stdout=target, stderr=DEVNULL
        )
    assert (tmp_path / "out").read_text() == "given\n"
    assert windows.piece.run(["cat"], stdin=DEVNULL, stdout=PIPE).stdout == b""
    with pytest.raises(ValueError, match="STDOUT"):
        windows.piece.Popen(["true"], stdin=PIPE, stdout=STDOUT)
    with pytest.raises(OSError, match="descriptor"):
        windows.piece.Popen(["true"], stdin=PIPE, stdout=9999)


def test_stderr_can_join_an_inherited_stdout(windows, capfd):
    windows.piece.run("echo x >&2", shell=True, stderr=STDOUT)
    assert capfd.readouterr().out == "x\n"


def test_without_a_console_the_streams_that_are_not_given_are_empty(windows):
    windows.without_console = True
    assert windows.piece.run("cat; echo x >&2", shell=True, stdout=PIPE).stdout == b""
    windows.piece.run(["true"], stderr=STDOUT)


@pytest.mark.parametrize("bufsize", [-1, 0, 1 << 16])
def test_full_pipes_in_both_directions_do_not_block(windows, bufsize):
    with windows.piece.Popen(["cat"], stdin=PIPE, stdout=PIPE, bufsize=bufsize) as process:
        assert process.communicate(BIG) == (BIG, None)


def test_text_and_both_outputs(windows):
    result = windows.piece.run(
        "cat; echo ä >&2", shell=True, input="é\nü", capture_output=True, encoding="utf-8"
    )
    assert (result.stdout, result.stderr) == ("é\nü", "ä\n")


def test_a_child_that_does_not_want_its_input_is_no_error(windows):
    assert windows.piece.run(["true"], input=BIG).returncode == 0
    with windows.piece.Popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate() == (b"", None)


def test_input_to_a_child_that_does_not_read_times_out_and_loses_nothing(windows):
    code = (
        "import sys; sys.stdin.buffer.read(1); input_left = sys.stdin.buffer.read(); print(len(input_left))"
    )
    gate, opener = os.pipe()
    with windows.piece.Popen(
        ["/bin/sh", "-c", f"read _ <&2; exec {sys.executable} -c '{code}'"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=gate,
    ) as process:
        begun = time.monotonic()
        with pytest.raises(windows.piece.TimeoutExpired) as expired:
            process.communicate(BIG, timeout=0.2)
        assert time.monotonic() - begun < SOON
        assert expired.value.stdout == b""
        os.write(opener, b"\n")
        with pytest.raises(ValueError, match="input"):
            process.communicate(b"more")
        assert process.communicate(timeout=30) == (b"%d\n" % (len(BIG) - 1), None)
    os.close(gate)
    os.close(opener)


def test_a_time_out_has_the_output_so_far_and_a_further_call_has_all(windows):
    with windows.piece.Popen(
        "echo one; read _; echo two", shell=True, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True
    ) as process:
        read_one = [process.stdout.fileno()]
        assert read_one
        process.stdin.write("")
        # stdin is a duplicate of ours, and kept open by it
        keep = os.dup(process.stdin.fileno())
        expired = late(
            lambda limit: process.communicate(timeout=limit),
            lambda expired: expired.stdout,
            windows.piece.TimeoutExpired,
        )
        assert expired.stdout == "one\n"
        os.write(keep, b"\n")
        os.close(keep)
        assert process.communicate(timeout=30) == ("one\ntwo\n", None)


def test_what_was_left_in_the_buffers_is_part_of_it(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        process.stdin.write(b"three\n")
        assert process.communicate(b"four\n") == (b"two\nthree\nfour\n", None)


def test_callbacks_limits_and_lines(windows):
    seen = []
    result = windows.piece.run(
        "echo a; echo b >&2; echo c", shell=True, on_stdout=seen.append, capture_output=True
    )
    assert (seen, result.stdout, result.stderr) == ([b"a\n", b"c\n"], b"a\nc\n", b"b\n")
    with pytest.raises(windows.piece.OutputTooLarge) as excess:
        windows.piece.run(["cat"], input=BIG, stdout=PIPE, max_output=1000)
    assert excess.value.stdout == BIG[:1000]
    with windows.piece.Popen("echo a; echo b", shell=True, stdout=PIPE, text=True) as process:
        assert [*process.lines()] == [("stdout", "a\n"), ("stdout", "b\n")]


def test_a_slow_reader_slows_the_child_down(windows):
    """Readers stop while nobody takes what they have read."""
    with windows.piece.Popen(["cat", "/dev/zero"], stdout=PIPE) as process:
        lines = process.lines(timeout=40)
        next(lines)
        inbox = process._exchange._inbox
        assert until(lambda: len(inbox.letters) >= 16)
        time.sleep(0.05)
        assert len(inbox.letters) <= 16
        process.kill()
        lines.close()


def test_after_kill_a_grandchild_that_holds_the_pipe_is_not_waited_for(windows):
    with windows.piece.Popen(
        "echo x; sleep 60 & wait", shell=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
    ) as process:
        process.stdout.peek(1)
        process.kill()
        begun = time.monotonic()
        assert process.communicate() == (b"x\n", b"")
        assert time.monotonic() - begun < SOON
        assert process.returncode == 1
    simulated_end(windows)


def test_run_with_a_time_limit_does_not_wait_for_a_grandchild_either(windows):
    how = {"shell": True, "capture_output": True, "text": True}
    expired = late(
        lambda limit: windows.piece.run("echo x; sleep 60 & wait", **how, timeout=limit),
        lambda expired: expired.stdout,
        windows.piece.TimeoutExpired,
    )
    assert expired.stdout == "x\n"
    simulated_end(windows)


def simulated_end(windows):
    for child in windows.children:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_a_pipeline_runs(windows):
    commands = windows.piece.Command(["cat"]) | ["sort"] | ["head", "-n1"]
    result = commands.run(input="b\na\nc\n", capture_output=True, text=True)
    assert (result.returncodes, result.stdout) == ((0, 0, 0), "a\n")


def test_coroutines_can_run_it(windows):
    async def main():
        result = await windows.piece.arun(["cat"], input=b"x" * 200_000, capture_output=True, timeout=30)
        assert result.stdout == b"x" * 200_000
        with pytest.raises(windows.piece.TimeoutExpired):
            await windows.piece.arun(["sleep", "60"], timeout=0.1)
        with windows.piece.Popen(["true"]) as process:
            assert await process.await_exit(10) == 0

    asyncio.run(main())


# -- the child's end -----------------------------------------------------------------------------------------------------


def test_poll_and_wait(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE) as process:
        assert process.poll() is None
        begun = time.monotonic()
        with pytest.raises(windows.piece.TimeoutExpired):
            process.wait(0.05)
        assert 0.05 <= time.monotonic() - begun < SOON
        process.stdin.close()
        assert process.wait(float("inf")) == 0
        assert process.poll() == process.wait(0) == 0


def test_an_exit_code_of_259_is_an_end(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE) as process:
        (child,) = windows.children
        child.forced = 259
        os.kill(child.pid, signal.SIGKILL)
        assert process.wait(10) == 259
        assert process.poll() == 259


def test_a_running_child_is_not_taken_for_ended(windows):
    with windows.piece.Popen(["sleep", "60"]) as process:
        assert process.poll() is None
        assert process.handle.returncode is None
        process.kill()


def test_ctrl_c_interrupts_a_wait(windows):
    with windows.piece.Popen(["sleep", "60"]) as process:
        for limit in LIMITS:
            windows.interruptions = 3
            with pytest.raises(windows.piece.TimeoutExpired):
                process.wait(limit)  # the handler did not raise: the wait goes on
            if not windows.interruptions:  # else the time was over before
                break
        assert windows.interruptions == 0
        process.kill()


def test_any_number_of_threads_may_wait(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE) as process:
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(process.wait(10))) for _ in range(5)]
        for thread in threads:
            thread.start()
        process.terminate()
        for thread in threads:
            thread.join()
        assert codes == [1] * 5


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_ending_a_child_gives_1_and_ending_it_again_does_nothing(windows, how):
    with windows.piece.Popen(["sleep", "60"]) as process:
        getattr(process, how)()
        assert process.wait(10) == 1
        getattr(process, how)()
    with pytest.raises(windows.piece.CalledProcessError, match="exit status 7"):
        windows.piece.run("exit 7", shell=True, check=True)


def test_access_denied_is_an_error_only_while_the_child_runs(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE) as process:
        windows.refusing["TerminateProcess"] = simulated_winapi.windows_error(5)
        with pytest.raises(PermissionError):
            process.terminate()
        assert process.poll() is None
        process.stdin.close()
        windows.children[0].wait(20_000)
        process.handle.returncode = None
        process.terminate()
        assert process.returncode == 0


def test_console_events_go_to_the_process_and_other_signals_nowhere(windows, monkeypatch):
    sent = []
    with windows.piece.Popen(["sleep", "60"]) as process:
        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", lambda *args: sent.append(args))
            process.send_signal(0)  # signal.CTRL_C_EVENT
            process.send_signal(1)  # signal.CTRL_BREAK_EVENT
        with pytest.raises(ValueError, match="signal 2"):
            process.send_signal(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
        process.send_signal(0)
    assert sent == [(process.pid, 0), (process.pid, 1)]


def test_a_child_that_nobody_refers_to_is_left_alone_and_its_handle_closed(windows):
    process = windows.piece.Popen(["sleep", "60"])
    holder = [process]
    del process
    with pytest.warns(ResourceWarning):
        holder.clear()
    assert windows.problems() == []
    assert windows.children[0].status is None
    windows.piece.run(["true"])


def test_a_child_in_a_cycle_is_left_alone_too(windows):
    process = windows.piece.Popen(["sleep", "60"], mark_tree=True)
    process.me = process
    with pytest.warns(ResourceWarning):  # noqa: PT031
        del process
        gc.collect()
    assert windows.problems() == []
    assert windows.children[0].status is None


def test_without_its_handle_nothing_can_be_asked(windows):
    with windows.piece.Popen(["sleep", "60"]) as process:
        handle = windows.piece.ProcessHandle(process.pid)
        windows.CloseHandle(handle.kernel.Detach())
        assert handle.poll() is None
        with pytest.raises(ValueError, match="closed or detached"):
            handle.wait(1)
        with pytest.raises(ValueError, match="closed or detached"):
            handle.send_signal(15)
        process.kill()


def test_the_handle_is_that_of_the_kernel(windows):
    with windows.piece.Popen(["cat"], stdin=PIPE) as process:
        number = int(process._handle)
        assert windows.table[number][0] is windows.children[0]
        again = windows.piece.ProcessHandle(process.pid)
        assert again.poll() is None
        with pytest.raises(TimeoutError, match="still running"):
            again.wait(0.01)
        with pytest.raises(OSError, match="int"):
            again.fileno()
        again.send_signal(15)
        assert again.wait(10) == process.wait(10) == 1
        again.close()
        assert again.wait() == 1
    with pytest.raises(OSError, match="parameter"):
        windows.piece.ProcessHandle(1)


def test_a_handle_is_closed_once(windows):
    Handle = importlib.import_module(f"{PACKAGE}._windows_handle").Handle
    one, other, third = (Handle(windows.new(simulated_winapi.SimulatedJob())) for _ in range(3))
    number = int(one)
    one.Close()
    one.Close()
    assert number not in windows.table
    with pytest.raises(ValueError, match="already"):
        one.Detach()
    bare = other.Detach()
    assert (type(bare), repr(other)) == (int, f"Handle({bare})")
    del other, third
    gc.collect()
    assert [*windows.open_handles()] == [bare]
    windows.CloseHandle(bare)


# -- whole trees ---------------------------------------------------------------------------------------------------------


def test_kill_tree_ends_the_job(windows):
    with windows.piece.Popen(
        "sleep 60 & sleep 60 & echo x; wait", shell=True, mark_tree=True, stdout=PIPE
    ) as process:
        assert windows.created[-1].flags & simulated_winapi.CREATE_SUSPENDED
        assert process.stdout.readline() == b"x\n"
        (job,) = windows.jobs
        assert job.active() == 3
        assert job.limits == simulated_winapi.KILL_ON_JOB_CLOSE
        process.kill_tree()
        assert job.active() == 0
        assert process.returncode == 1
        process.kill_tree()


def test_run_with_kill_tree_leaves_nobody_after_a_time_out(windows):
    how = {"shell": True, "kill_tree": True, "stdout": PIPE}
    expired = late(
        lambda limit: windows.piece.run("sleep 60 & echo x; wait", **how, timeout=limit),
        lambda expired: expired.stdout,
        windows.piece.TimeoutExpired,
    )
    assert expired.stdout == b"x\n"
    assert not any(job.active() for job in windows.jobs)


def test_run_with_kill_tree_that_ends_well_leaves_background_processes_alone(windows):
    assert windows.piece.run("sleep 60 & exit 3", shell=True, kill_tree=True).returncode == 3
    gc.collect()
    assert not windows.open_handles()
    assert windows.jobs[0].active() == 1
    simulated_end(windows)


def test_a_tree_that_was_not_started_as_one_cannot_be_ended(windows):
    with windows.piece.Popen(["sleep", "60"]) as process:
        with pytest.raises(ValueError, match="mark_tree=True"):
            process.kill_tree()
        process.kill()


def test_with_grace_a_console_group_is_asked_first(windows, monkeypatch):
    flags = windows.piece.CREATE_NEW_PROCESS_GROUP
    ask, sent = os.kill, []

    def event(pid, number):
        sent.append(number)
        if number == 1:
            ask(pid, signal.SIGTERM)

    monkeypatch.setattr(os, "kill", event)
    with windows.piece.Popen(
        "trap 'exit 5' TERM; echo x; while :; do sleep 0.01; done",
        shell=True,
        mark_tree=True,
        creationflags=flags,
        stdout=PIPE,
    ) as process:
        process.stdout.readline()
        process.kill_tree(grace=SOON)
        assert (process.wait(10), sent) == (5, [1])


@pytest.mark.parametrize(
    "call", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject", "ResumeThread"]
)
def test_a_job_that_cannot_be_had_is_an_error_and_leaves_no_child(windows, call):
    windows.refusing[call] = 5
    with pytest.raises(PermissionError):
        windows.piece.Popen(["sleep", "60"], mark_tree=True, stdin=DEVNULL)
    for child in windows.children:
        assert child.wait(20_000)


def test_the_structures_have_the_sizes_that_windows_documents():
    with simulated_winapi.installed(PACKAGE):  # the module needs a Windows
        module = importlib.import_module(f"{PACKAGE}._job")
        assert struct.calcsize(module._LIMITS) == (144 if struct.calcsize("P") == 8 else 112)
        assert struct.calcsize(module._ACCOUNTING) == 48


# -- what may fail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    ["CreatePipe", "open_osfhandle", "get_osfhandle", "DuplicateHandle", "CreateProcess", "GetStdHandle"],
)
def test_a_call_that_fails_leaves_nothing_open(windows, call):
    windows.refusing[call] = OSError(22, "refused")
    with pytest.raises(OSError, match="refused"):
        windows.piece.Popen(["true"], stdin=PIPE, stdout=None, stderr=DEVNULL)
    assert call not in windows.refusing
    gc.collect()
    assert windows.problems() == []


# As in test_interruptions: raises once at each place where the interpreter may run a signal handler.
SWEEP = r"""
import dis, gc, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
import simulated_winapi
files = sys.argv[4:]
class Interruption(BaseException): pass

places = {}
def is_place(frame):
    code = frame.f_code
    if code not in places:
        places[code], before = set(), ""
        for step in dis.get_instructions(code):
            if before.startswith("CALL") or before in ("RESUME", "JUMP_BACKWARD"):
                places[code].add(step.offset)
            before = step.opname
    return frame.f_lasti in places[code]

def act():
    if sys.argv[3] == "communicate":
        piece.run(["cat"], input=b"x", capture_output=True)
        return
    with piece.Popen(["true"], stdin=-1, stdout=-1, stderr=-3, mark_tree=True) as process:
        process.wait()

with simulated_winapi.installed(sys.argv[1]) as (windows, piece):
    windows.scripted = True
    act()
    sys._getframe().f_trace_opcodes = True
    # Every fourth place, which is a different quarter of them on each Python.
    stride = 4
    number = sys.version_info[1] % stride
    while True:
        count, where = 0, None
        def trace(frame, event, arg):
            global count, where
            if os.path.basename(frame.f_code.co_filename) not in files: return None
            if event == "call":
                outer = frame
                while outer is not None and outer.f_code.co_name != "__del__": outer = outer.f_back
                if outer is not None: return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode" and is_place(frame):
                count += 1
                if count == number + 1:
                    where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
                    raise Interruption
            return trace
        before = os.listdir("/proc/self/fd")
        sys.settrace(trace)
        try: act()
        except Interruption: pass
        finally: sys.settrace(None)
        if where is None and count <= number: break
        if windows.problems(): gc.collect()
        abandoned = sys.modules[sys.argv[1] + "._popen"].abandoned
        while abandoned: abandoned.pop().wait()
        assert windows.problems() == [], (where, windows.problems())
        assert simulated_winapi.until(lambda: os.listdir("/proc/self/fd") == before), where
        assert all(child.wait(20_000) for child in windows.children), where
        windows.children.clear()
        number += stride
print("places:", number)
"""


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info < (3, 11), reason="needs to know the places"
)
@pytest.mark.parametrize(
    ("act", "files", "places"),
    [
        ("start", ["_windows_start.py", "_windows_handle.py", "_job.py", "_popen.py", "_ends.py"], 100),
        ("communicate", ["_exchange_by_threads.py"], 30),
    ],
)
def test_a_signal_handler_that_raises_anywhere_leaves_no_handle_and_no_child(act, files, places):
    folder = os.path.dirname(simulated_winapi.__file__)
    command = [sys.executable, "-c", SWEEP, PACKAGE, folder, act, *files]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = run(command, timeout=100, env=env, text=True, capture_output=True)
    assert result.stdout.startswith("places: "), result.stderr
    assert int(result.stdout.split()[1]) > places


# -- beside the standard module ------------------------------------------------------------------------------------------

CALLS = [
    ("run", (["true"],), {}),
    ("run", (["echo", "a b", 'c"d'],), {"stdout": PIPE}),
    ("run", ("echo x; echo y >&2; exit 3",), {"shell": True, "capture_output": True, "text": True}),
    ("run", (["cat"],), {"input": b"abc", "stdout": PIPE, "stderr": STDOUT}),
    ("run", (["true"],), {"cwd": "/", "env": {"PATH": "/bin:/usr/bin", "A": "b"}}),
    ("run", (["true"],), {"creationflags": 0x8000200}),
    ("run", (["true"],), {"close_fds": False}),
    ("run", (["true"],), {"close_fds": False, "stdout": DEVNULL}),
    ("run", (["x", "y"],), {"executable": "/bin/echo", "stdout": PIPE}),
    ("call", ("exit 5",), {"shell": True}),
    ("check_output", (["cat"],), {"input": "x", "text": True}),
    ("run", (["sleep", "60"],), {"timeout": 0.05}),
]


def outcome(simulation, module, function, args, options):
    try:
        result = getattr(module, function)(*args, **options)
    except Exception as error:
        result = SimpleNamespace(error=type(error).__name__)
    result = dict(vars(result)) if hasattr(result, "__dict__") else result
    created = simulation.created[-1]
    # The standard module leaves it to Windows to find the shell in the line; ours names it.
    application = None if options.get("shell") else created.application
    told = (application, created.line, created.inherit, created.flags, created.env, created.cwd)
    return result, told, bool(created.listed), created.info.dwFlags, created.info.wShowWindow


@pytest.mark.parametrize(("function", "args", "options"), CALLS, ids=lambda value: str(value)[:40])
def test_the_standard_module_tells_the_simulation_the_same(function, args, options):
    answers = []
    for name in (PACKAGE, "subprocess"):
        with simulated_winapi.installed(name) as (simulation, module):
            answers.append(outcome(simulation, module, function, args, options))
    assert answers[0] == answers[1]
