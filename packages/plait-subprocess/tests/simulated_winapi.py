# SPDX-License-Identifier: MIT
"""A Windows to test against: what `_winapi`, `msvcrt` and `ctypes.WinDLL("kernel32")` offer, on top of a POSIX system.

    with installed("package.to.import") as (windows, package):
        package.run(["echo", "x"])
        windows.created[-1].line    # what CreateProcess was given
    windows.problems()              # handles left open, closed twice, inherited by accident ...

Children are real ones, pipes too; handles are numbers in a table, with the kernel's rules: several handles may refer
to one object, each is closed once, an object goes with its last handle. The shell "cmd.exe" is /bin/sh.

What it cannot show: whether Windows does what its documentation says.
"""

# Only `_thread` is used here, not `threading`: the scenarios in which this is installed may hold no module that is replaced.

from __future__ import annotations

import _thread
import ctypes
import errno
import functools
import importlib
import os
import shutil
import signal
import struct
import sys
import time
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

COMSPEC = r"C:\Windows\System32\cmd.exe"
SPELLINGS = ("COMSPEC", "ComSpec")  # Windows minds no case in names of variables
INFINITE = 0xFFFFFFFF
WAIT_OBJECT_0, WAIT_TIMEOUT = 0, 258
STILL_ACTIVE = 259
THIS_PROCESS = 0xFFFFFFFFFFFFFFFF
CREATE_SUSPENDED = 0x4
STARTF_USESTDHANDLES = 0x100
KILL_ON_JOB_CLOSE = 0x2000
SAME_ACCESS, CLOSE_SOURCE = 2, 1
STANDARD = {2**32 - 10: 0, 2**32 - 11: 1, 2**32 - 12: 2}

ERRORS = {  # winerror: errno, text
    2: (errno.ENOENT, "The system cannot find the file specified"),
    5: (errno.EACCES, "Access is denied"),
    6: (errno.EBADF, "The handle is invalid"),
    87: (errno.EINVAL, "The parameter is incorrect"),
    267: (errno.ENOTDIR, "The directory name is invalid"),
}

CONSTANTS = {
    "ABOVE_NORMAL_PRIORITY_CLASS": 0x8000,
    "BELOW_NORMAL_PRIORITY_CLASS": 0x4000,
    "CREATE_BREAKAWAY_FROM_JOB": 0x1000000,
    "CREATE_DEFAULT_ERROR_MODE": 0x4000000,
    "CREATE_NEW_CONSOLE": 0x10,
    "CREATE_NEW_PROCESS_GROUP": 0x200,
    "CREATE_NO_WINDOW": 0x8000000,
    "DETACHED_PROCESS": 0x8,
    "DUPLICATE_CLOSE_SOURCE": CLOSE_SOURCE,
    "DUPLICATE_SAME_ACCESS": SAME_ACCESS,
    "HIGH_PRIORITY_CLASS": 0x80,
    "IDLE_PRIORITY_CLASS": 0x40,
    "INFINITE": INFINITE,
    "NORMAL_PRIORITY_CLASS": 0x20,
    "REALTIME_PRIORITY_CLASS": 0x100,
    "STARTF_FORCEOFFFEEDBACK": 0x80,
    "STARTF_FORCEONFEEDBACK": 0x40,
    "STARTF_USESHOWWINDOW": 0x1,
    "STARTF_USESTDHANDLES": STARTF_USESTDHANDLES,
    "STD_ERROR_HANDLE": 2**32 - 12,
    "STD_INPUT_HANDLE": 2**32 - 10,
    "STD_OUTPUT_HANDLE": 2**32 - 11,
    "STILL_ACTIVE": STILL_ACTIVE,
    "SW_HIDE": 0,
    "SYNCHRONIZE": 0x100000,
    "WAIT_ABANDONED_0": 0x80,
    "WAIT_OBJECT_0": WAIT_OBJECT_0,
    "WAIT_TIMEOUT": WAIT_TIMEOUT,
}


def windows_error(number):
    """The OSError that Windows' error *number* becomes."""
    error = OSError(*ERRORS[number])  # of the right subclass, by its errno
    error.winerror = number
    return error


def taken_apart(line):
    """The arguments that a program of the Microsoft C runtime finds in its command line."""
    arguments, current, quoted, backslashes, begun = [], "", False, 0, False
    for character in line + " ":
        if character == "\\":
            backslashes += 1
            continue
        if character == '"':
            current += "\\" * (backslashes // 2)
            if backslashes % 2:
                current += '"'
            else:
                quoted = not quoted
            begun, backslashes = True, 0
            continue
        current += "\\" * backslashes
        begun, backslashes = begun or backslashes > 0, 0
        if character in " \t" and not quoted:
            if begun or current:
                arguments.append(current)
            current, begun = "", False
        else:
            current += character
    return arguments


class File:
    """An end of a pipe, or a file: a descriptor that the kernel closes with the last handle."""

    def __init__(self, fd):
        self.fd = fd

    def copied(self):
        return self  # another handle of the same object

    def gone(self):
        os.close(self.fd)


class Borrowed(File):
    """What a descriptor of the C runtime refers to. Closing the handle is the C runtime's business."""

    def copied(self):
        return File(os.dup(self.fd))

    def gone(self):
        raise AssertionError("its handle is never closed by itself")


class Child:
    """A process object."""

    def __init__(self, pid, gate):
        self.pid = pid
        self.gate = gate  # to be written to when its thread is resumed; -1 if it runs
        self.forced = None
        self.status = None
        self.ended = _thread.allocate_lock()
        self.ended.acquire()
        _thread.start_new_thread(self._reap, ())

    def _reap(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.status = status if status >= 0 else 0xC0000000 - status if self.forced is None else self.forced
        self._let_go(b"")
        self.ended.release()

    def wait(self, milliseconds):
        seconds = -1 if milliseconds == INFINITE else milliseconds / 1000
        if not self.ended.acquire(timeout=seconds):
            return False
        self.ended.release()  # whoever else waits is to be woken as well
        return True

    def resume(self):
        self._let_go(b"\n")

    def _let_go(self, word):
        gate, self.gate = self.gate, -1
        if gate >= 0:
            try:
                os.write(gate, word)
            except BrokenPipeError:
                pass  # it was ended before it could begin
            os.close(gate)

    def gone(self):
        pass

    def terminate(self, code):
        if self.status is not None:
            raise windows_error(5)
        self.forced = code
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            raise windows_error(5) from None  # has ended, only nobody knows it yet


class Scripted(Child):
    """A process that does nothing, and needs no process for it."""

    def __init__(self, pid, suspended):
        self.pid = pid
        self.status = None
        self.forced = 0
        self.ended = _thread.allocate_lock()
        self.ended.acquire()
        if not suspended:
            self.resume()

    def resume(self):
        if self.status is None:
            self.status = 0
            self.ended.release()

    def terminate(self, code):
        if self.status is not None:
            raise windows_error(5)
        self.status = code
        self.ended.release()


class Thread:
    """The first thread of a child."""

    def __init__(self, child):
        self.child = child

    def gone(self):
        pass


class SimulatedJob:
    """A job object; its members' descendants are those of their process groups."""

    def __init__(self):
        self.members = []
        self.limits = 0

    def active(self):
        groups = {member.pid for member in self.members if not isinstance(member, Scripted)}
        count = sum(isinstance(member, Scripted) and member.status is None for member in self.members)
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        state, _, group, *_ = file.read().rpartition(b")")[2].split()
                except OSError:
                    continue
                count += int(group) in groups and state not in (b"Z", b"X")
        return count

    def end(self, code):
        for member in self.members:
            if isinstance(member, Scripted):
                if member.status is None:
                    member.terminate(code)
                continue
            if member.forced is None:
                member.forced = code
            try:
                os.killpg(member.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def gone(self):
        if self.limits & KILL_ON_JOB_CLOSE:
            self.end(1)


class Simulation:
    """The state of the simulated system, and what it was asked."""

    def __init__(self):
        self.table = {}  # handle: [object, inheritable]
        self.next_handle = 0x1000
        self.of_descriptors = {}
        self.without_console = False
        self.created = []
        self.jobs = []
        self.children = []
        self.scripted = False  # whether children are only said to have run, and ended with 0
        self.events = []  # (pid, event)
        self.wrong = []
        self.interruptions = 0  # so many waits are broken off as Ctrl-C does it
        self.refusing = {}  # name of a call: the exception that it raises next time
        self.last_error = 0

    # -- handles --------------------------------------------------------------------------------------------------

    def new(self, thing, inheritable=False):
        self.next_handle += 4
        self.table[self.next_handle] = [thing, inheritable]
        return self.next_handle

    def thing(self, handle, kind=object):
        if type(handle) is not int and not isinstance(handle, int):
            raise TypeError(f"an integer is required, not {handle!r}")
        entry = self.table.get(int(handle))
        if entry is None or not isinstance(entry[0], kind):
            self.wrong.append(f"handle {handle} used, which is not (any more) one of a {kind.__name__}")
            raise windows_error(6)
        return entry[0]

    def CloseHandle(self, handle):
        thing = self.thing(handle)
        if isinstance(thing, Borrowed):
            self.wrong.append(f"handle {handle} closed, which belongs to a descriptor of the C runtime")
            raise windows_error(6)
        del self.table[int(handle)]
        if not any(entry[0] is thing for entry in self.table.values()):
            thing.gone()

    def CreatePipe(self, attributes, size):
        read_end, write_end = os.pipe()
        return self.new(File(read_end)), self.new(File(write_end))

    def GetCurrentProcess(self):
        return THIS_PROCESS

    def DuplicateHandle(self, source, handle, target, access, inherit, options=0):
        assert source == target == THIS_PROCESS
        assert options & SAME_ACCESS
        made = self.new(self.thing(handle, File).copied(), bool(inherit))
        if options & CLOSE_SOURCE:
            self.CloseHandle(handle)
        return made

    def GetStdHandle(self, number):
        return None if self.without_console else self.get_osfhandle(STANDARD[number])

    def GetFileType(self, handle):
        self.thing(handle, File)
        return 3

    # -- the C runtime --------------------------------------------------------------------------------------------

    def open_osfhandle(self, handle, flags):
        fd = self.thing(handle, File).fd
        del self.table[int(handle)]
        return fd

    def get_osfhandle(self, fd):
        os.fstat(fd)
        if fd not in self.of_descriptors:
            self.of_descriptors[fd] = self.new(Borrowed(fd))
        return self.of_descriptors[fd]

    # -- processes ------------------------------------------------------------------------------------------------

    def CreateProcess(self, application, line, process_attr, thread_attr, inherit, flags, env, cwd, info):
        assert process_attr is None
        assert thread_attr is None
        if "\0" in line:
            raise ValueError("embedded null character")
        if env is not None:
            for name, value in env.items():
                if not isinstance(name, str) or not isinstance(value, str):
                    raise TypeError("environment can only contain strings")
                if "=" in name or not name:
                    raise ValueError("illegal environment variable name")
        attributes = getattr(info, "lpAttributeList", None) or {}
        listed = list(attributes.get("handle_list") or ())
        self.created.append(
            SimpleNamespace(
                application=application,
                line=line,
                inherit=bool(inherit),
                flags=flags,
                env=env,
                cwd=cwd,
                info=info,
                listed=listed,
                standard=(info.hStdInput, info.hStdOutput, info.hStdError),
                inheritable=sorted(handle for handle, entry in self.table.items() if entry[1]),
            )
        )
        if listed and not inherit:
            raise windows_error(87)
        for handle in listed:
            if len(set(listed)) != len(listed) or not self.table.get(int(handle), (None, False))[1]:
                raise windows_error(87)
        argv = self._argv(application, line)
        program = shutil.which(argv[0], path=(env or os.environ).get("PATH", os.defpath))
        if program is None:
            raise windows_error(2)
        if cwd is not None and not os.path.isdir(cwd):
            raise windows_error(267)
        return self._spawn(program, argv, inherit, flags, env, cwd, info, listed)

    @staticmethod
    def _argv(application, line):
        name = application or taken_apart(line)[0]
        if name.lower().endswith("cmd.exe"):
            command = line.partition(" /c ")[2]
            return ["/bin/sh", "-c", command[1:-1] if command[:1] == command[-1:] == '"' else command]
        return [application, *taken_apart(line)[1:]] if application else taken_apart(line)

    def _spawn(self, program, argv, inherit, flags, env, cwd, info, listed):
        actions, gate = [], -1
        if info.dwFlags & STARTF_USESTDHANDLES:
            for target, handle in enumerate((info.hStdInput, info.hStdOutput, info.hStdError)):
                entry = self.table.get(int(handle or 0))
                reaches = inherit and entry is not None and entry[1] and (not listed or handle in listed)
                if reaches:
                    actions.append((os.POSIX_SPAWN_DUP2, entry[0].fd, target))
                else:
                    actions.append((os.POSIX_SPAWN_CLOSE, target))
        if self.scripted:
            child = Scripted(0x10000 + 4 * len(self.created), bool(flags & CREATE_SUSPENDED))
            self.children.append(child)
            return self.new(child), self.new(Thread(child)), child.pid, child.pid
        if flags & CREATE_SUSPENDED or cwd is not None:
            opening = ""
            if flags & CREATE_SUSPENDED:
                gate_end, gate = os.pipe()
                actions.append((os.POSIX_SPAWN_DUP2, gate_end, 9))
                opening = "read _ <&9 && exec 9<&- && "
            script = opening + 'cd -- "$0" && exec "$@"'
            argv = ["/bin/sh", "-c", script, cwd or ".", program, *argv[1:]]
            program = "/bin/sh"
        pid = os.posix_spawn(
            program, argv, os.environ if env is None else env, file_actions=actions, setsid=True
        )
        if gate >= 0:
            os.close(gate_end)
        child = Child(pid, gate)
        self.children.append(child)
        return self.new(child), self.new(Thread(child)), pid, pid

    def OpenProcess(self, access, inherit, pid):
        for child in self.children:
            if child.pid == pid:
                return self.new(child)
        raise windows_error(87)

    def _wait(self, handle, milliseconds):
        child = self.thing(handle, Child)
        if not 0 <= milliseconds <= INFINITE:
            raise OverflowError("timeout value is too large")
        if self.interruptions and milliseconds:
            self.interruptions -= 1
            raise InterruptedError(errno.EINTR, "Interrupted function call")
        return WAIT_OBJECT_0 if child.wait(milliseconds) else WAIT_TIMEOUT

    def WaitForSingleObject(self, handle, milliseconds):
        return self._wait(handle, milliseconds)

    def WaitForMultipleObjects(self, handles, wait_all, milliseconds=INFINITE):
        (handle,) = handles
        return self._wait(handle, milliseconds)

    def GetExitCodeProcess(self, handle):
        status = self.thing(handle, Child).status
        return STILL_ACTIVE if status is None else status

    def TerminateProcess(self, handle, code):
        self.thing(handle, Child).terminate(code)

    # -- kernel32, by ctypes --------------------------------------------------------------------------------------

    def CreateJobObjectW(self, attributes, name):
        self.jobs.append(SimulatedJob())
        return self.new(self.jobs[-1])

    def SetInformationJobObject(self, job, kind, information, size):
        assert (kind, size) == (9, len(information))
        self.thing(job, SimulatedJob).limits = struct.unpack_from("=I", information, 16)[0]
        return 1

    def QueryInformationJobObject(self, job, kind, information, size, returned):
        assert (kind, size) == (1, len(information))
        struct.pack_into("=I", information, 40, self.thing(job, SimulatedJob).active())
        return 1

    def AssignProcessToJobObject(self, job, process):
        self.thing(job, SimulatedJob).members.append(self.thing(process, Child))
        return 1

    def TerminateJobObject(self, job, code):
        self.thing(job, SimulatedJob).end(code)
        return 1

    def ResumeThread(self, thread):
        self.thing(thread, Thread).child.resume()
        return 1

    # -- all together ---------------------------------------------------------------------------------------------

    def call(self, name, *arguments):
        """What every function goes through: failures that a test has asked for happen here."""
        if name in self.refusing:
            refusal = self.refusing.pop(name)
            if isinstance(refusal, BaseException):
                raise refusal
            self.last_error = refusal
            return 0xFFFFFFFF if name == "ResumeThread" else 0
        return getattr(self, name)(*arguments)

    def open_handles(self):
        """The handles that the program would have had to close."""
        return {
            handle: type(entry[0]).__name__
            for handle, entry in self.table.items()
            if not isinstance(entry[0], Borrowed)
        }

    def problems(self):
        """What was done wrong, and what was left open."""
        return [*self.wrong, *(f"{kind} {handle} left open" for handle, kind in self.open_handles().items())]

    def end(self):
        """End what still runs."""
        for child in self.children:
            child.resume()
            if isinstance(child, Scripted):
                continue
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait(5000)


_current = []
_imported = {}


def _now(name, *arguments):
    return _current[-1].call(name, *arguments)


def _module(name, functions, **constants):
    """A module that asks the simulation of the moment."""
    module = ModuleType(name)
    vars(module).update(constants)
    for each in functions:
        setattr(module, each, functools.partial(_now, each))
    return module


FUNCTIONS = [each for each in vars(Simulation) if each[0].isupper()]
WINAPI = _module("_winapi", FUNCTIONS, **CONSTANTS)
MSVCRT = _module("msvcrt", ["open_osfhandle", "get_osfhandle"])
KERNEL32 = _module("kernel32", FUNCTIONS)


@contextmanager
def installed(name):
    """A simulation, and the module *name* as it is when imported on Windows; afterwards all is as it was before."""
    simulation = Simulation()
    _current.append(simulation)
    parent = sys.modules.get(name.rpartition(".")[0])
    attribute = getattr(parent, name.rpartition(".")[2], None)
    before = _taken_out(name)
    environment = dict(os.environ)
    sys.modules.update({"_winapi": WINAPI, "msvcrt": MSVCRT, **_imported.get(name, {})})
    ctypes.WinDLL = lambda name, use_last_error: KERNEL32
    ctypes.get_last_error = lambda: simulation.last_error
    ctypes.WinError = windows_error
    os.environ.update(dict.fromkeys(SPELLINGS, COMSPEC))
    try:
        yield simulation, importlib.import_module(name)
    finally:
        simulation.end()
        _imported[name] = _taken_out(name)
        sys.modules.update(before)
        if attribute is not None:
            setattr(parent, name.rpartition(".")[2], attribute)
        del sys.modules["_winapi"], sys.modules["msvcrt"]
        del ctypes.WinDLL, ctypes.get_last_error, ctypes.WinError
        for each in SPELLINGS:
            del os.environ[each]
            if each in environment:
                os.environ[each] = environment[each]
        _current.pop()


def _taken_out(name):
    """Take a module and its submodules out of sys.modules."""
    names = [each for each in sys.modules if each == name or each.startswith(name + ".")]
    return {each: sys.modules.pop(each) for each in names}


def until(condition, seconds=20.0):
    """Wait for *condition*; whether it came true."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True
