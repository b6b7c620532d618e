# SPDX-License-Identifier: MIT
"""Ending a child together with everything it has started."""

# Who belongs to a tree
#
#   On Linux, whoever /proc shows as a descendant; and, if the tree was marked when it was started, whoever
#   carries the mark: a variable in the environment with a random word in it. The mark is what finds those
#   whose parents have ended (daemons): to the kernel they are children of init, in whichever session they like,
#   but their environment is still the one they were started with. Only a process that lost its parents *and*
#   was given a new environment is beyond reach. (A child subreaper would see that one too, but makes this whole
#   program the parent of strangers, and a cgroup needs rights that programs do not have.)
#   Elsewhere there is no /proc: a marked child leads a process group of its own, and the group is ended. Its number is
#   that of the child, whose status is therefore not taken before (`keeps_number` in _handle.py), if the system lets us
#   look at it without taking it: so the number means this group even when the child has ended.
#
# No process outside the tree is hit
#
#   A candidate is adopted in this order: its number and its time of start come from a look at all of /proc;
#   a pidfd is opened; its time of start is read again and has to be the same. Every signal then goes through
#   the pidfd, which means one process for ever. A child is no older than its parent, so an entry that
#   contradicts this comes from a number that changed hands during the look, and is left for the next one.
#   Without pidfds (other kernels, PyPy, out of descriptors) the time of start is compared before each signal: then a number
#   has to change hands between that and the signal, right away, to mislead. A look
#   needs one descriptor; if there is none, OSError says so. Nobody is taken for gone because he could not be looked at.
#
# No process of the tree escapes
#
#   A fork during the search would make a process that the search has missed. So whoever is found is stopped
#   (SIGSTOP), parents before children, and the search is repeated until everybody known has been seen to stand
#   still and a whole look after that finds nobody new. Who stands still cannot fork, and the dead cannot either.
#   Only then does everybody get SIGKILL, which stopped processes obey. Should the tree not come to a stand in
#   time (a process in uninterruptible sleep), the known ones are killed and the search begins anew; a process
#   with SIGKILL pending cannot fork. Who is listed and is gone, or a zombie, when he is looked at
#   may have left a child that came after the list was made: so the list is made again, and who is new in it is looked
#   at, until none of the new ones has gone. A look that has seen somebody who was gone before he could be adopted does
#   not count as one that found nobody. Who is seen in the middle of exec() is waited for: there is a time when he has
#   the memory of his new program and no environment in it yet, so that no mark can be seen. What this cannot catch is a
#   program made to run away: one that forks and ends within less time than a look takes, again and again. It is chased
#   for _END_SECONDS, and reported.
#
# No zombie is left to us
#
#   Orphans become children of init, who takes their status; but if this process is the init of a container, or a child
#   subreaper, they become its own. The status of those whom we have ended is taken then: nobody else knows of them.
#   Strangers' orphans are left alone.
#
# If this process dies in the middle of it, some processes are left stopped. After an exception those known by then have
# been killed, and kill_tree() may be called again. Nobody sleeps on anything but pidfds and the clock.

from __future__ import annotations

import os
from time import monotonic, sleep

from ._handle import deadline_after
from ._kernel import open_pidfd, take_status
from ._platform import send_through_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ._handle import ProcessHandle

__all__ = ["ask_tree", "can_search", "end_tree", "marked"]

_SIGKILL, _SIGTERM = 9, 15

#: The variable that marks a tree. Trees within trees: it holds one word for each.
_VARIABLE = (__package__ or "subprocess").replace(".", "_").upper().encode() + b"_TREE"

#: How long one search may wait for the tree to stand still, and how long the whole may take. Guesses; both are
#: reached only if the kernel does not let a process go.
_FREEZE_SECONDS = 0.5
_END_SECONDS = 5.0
_PAUSE = 0.0005
#: More than this is too much for the clock of some systems.
_LONGEST_SLEEP = 1e8
#: How long, at least, the killed have to be gone, however long the chase was.
_GONE_SECONDS = 1.0
#: How often one look lists the processes, while strangers come and go. A guess.
_MOST_LISTS = 50
#: How long one look waits for processes that are changing their program. A guess; on a busy machine it takes its time.
_EXEC_SECONDS = 0.25
_GONE = (b"Z", b"X", b"x")
_STILL = (*_GONE, b"T", b"t")


def can_search() -> bool:
    """Whether this system has a /proc that names the parents of processes."""
    return _stat(os.getpid()) is not None


def marked(environment: list[bytes] | None) -> tuple[list[bytes], bytes]:
    """*environment* (None: ours) with a new mark in it, and the mark."""
    word = os.urandom(12).hex().encode()
    if environment is None:
        environment = [b"%b=%b" % item for item in os.environb.items()]
    outer = os.environb.get(_VARIABLE)
    words = word if outer is None else outer + b":" + word
    kept = [line for line in environment if not line.startswith(_VARIABLE + b"=")]
    return [*kept, _VARIABLE + b"=" + words], word


def _stat(pid: int) -> tuple[bytes, int, int] | None:
    """State, parent and time of start of a process; None if there is none that we may see."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096)
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the second: it ended while it was read
        return None
    # The name of the program, in parentheses, may contain anything.
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0], int(fields[1]), int(fields[19])


def _environment_of(pid: int) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def _memory_of(pid: int) -> tuple[int, int, int]:
    """How much address space a process has, and where in it its environment begins and ends; 0 is nowhere."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        text = file.read(4096)
    fields = text[text.rindex(b")") + 2 :].split()
    return (int(fields[20]), int(fields[47]), int(fields[48])) if len(fields) > 48 else (0, 0, 0)


def _has_none(pid: int) -> bool:
    """Whether a process whose environment reads as empty has an empty one, or no memory; it may be on its way to exec."""
    size, begin, end = _memory_of(pid)
    if not size:  # a thread of the kernel, or a zombie
        return True
    return begin == end if begin else not _memory_of(os.getpid())[1]  # does this kernel tell at all?


def _carries(pid: int, mark: bytes) -> bool | None:
    """Whether *mark* is in the environment of a process; None if that cannot be told yet."""
    try:
        environment = _environment_of(pid)
        if not environment:
            return False if _has_none(pid) else None
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # another user's, or gone
        return False
    return any(line.startswith(_VARIABLE + b"=") and mark in line for line in environment.split(b"\0"))


def _everybody() -> tuple[dict[int, tuple[int, int]], bool]:
    """Parent and time of start of every process, by its number; and whether there may be one that was not seen."""
    table: dict[int, tuple[int, int]] = {}
    listed: set[str] = set()
    for _ in range(_MOST_LISTS):
        some_have_gone = False
        for name in set(os.listdir("/proc")) - listed:
            listed.add(name)
            if not name.isdigit():
                continue
            seen = _stat(int(name))
            if seen is None or seen[0] in _GONE:
                some_have_gone = True
            else:
                table[int(name)] = seen[1:]
        if not some_have_gone:
            return table, False
    return table, True


class _Member:
    """One process of the tree, identified for good."""

    __slots__ = ("fd", "pid", "refused", "started_at")

    def __init__(self, pid: int, started_at: int) -> None:
        self.pid = pid
        self.started_at = started_at
        self.refused = False  # it belongs to somebody whom we may not signal
        self.fd = -1
        open_pidfd(self, "fd", pid)
        if self.fd >= 0:
            # The last descriptor is not for us: without one, nobody could be looked at any more.
            try:
                any(map(os.close, map(os.dup, (self.fd,))))
            except OSError:
                os.close(self.fd)
                self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)

    def state(self) -> bytes:
        seen = _stat(self.pid)
        return seen[0] if seen is not None and seen[2] == self.started_at else b"X"

    def send(self, sig: int) -> None:
        try:
            if self.fd >= 0:
                send_through_pidfd(self.fd, sig)
            elif self.state() not in _GONE:
                os.kill(self.pid, sig)
        except ProcessLookupError:
            pass
        except PermissionError:
            self.refused = True


class _Tree:
    """The processes found so far. The root is not among them: its handle takes care of it."""

    def __init__(self, root: ProcessHandle, mark: bytes | None) -> None:
        self.root = root
        self.root_refused = False  # as `refused` of a member
        self.mark = mark
        self.members: dict[tuple[int, int], _Member] = {}
        # Whether the last look saw somebody who was gone a moment later, or showed no environment for long.
        self.missed = False

    def living(self) -> list[_Member]:
        return [member for member in self.members.values() if member.state() not in _GONE]

    def adopt_new(self) -> list[_Member]:
        """Look at all processes once; take in, and return, those of the tree that were not known."""
        table, self.missed = _everybody()
        children: dict[int, list[int]] = {}
        for pid, (parent, started_at) in table.items():
            if parent in table and table[parent][1] <= started_at:
                children.setdefault(parent, []).append(pid)
        me = os.getpid()
        reached = {pid: None for pid, started_at in self.members if table.get(pid, (0, -1))[1] == started_at}
        if self.root.poll() is None:
            reached[self.root.pid] = None
        if self.mark is not None:
            reached.update((pid, None) for pid in self._marked(table, me, self.mark))
        queue = list(reached)
        for pid in queue:  # grows meanwhile: parents come before their children
            for child in children.get(pid, ()):
                if child not in reached and child != me:
                    reached[child] = None
                    queue.append(child)
        return [member for pid in queue if (member := self._adopt(pid, table)) is not None]

    def _marked(self, table: dict[int, tuple[int, int]], me: int, mark: bytes) -> Iterable[int]:
        """Who of *table* carries the mark, or did until it was gone. Waits for those of whom that cannot be told yet."""
        asked: Iterable[int] = table
        deadline = None
        while True:
            unclear = []
            for pid in asked:
                carries = pid != me and _carries(pid, mark)
                if carries:
                    yield pid
                elif carries is None:
                    unclear.append(pid)
                elif deadline is not None and ((seen := _stat(pid)) is None or seen[0] in _GONE):
                    self.missed = True  # it may have been one of us, and may have left a child
            if not unclear:
                return
            if deadline is None:
                deadline = monotonic() + _EXEC_SECONDS
            elif monotonic() >= deadline:
                self.missed = True
                return
            asked = unclear
            sleep(_PAUSE)

    def _adopt(self, pid: int, table: dict[int, tuple[int, int]]) -> _Member | None:
        if pid == self.root.pid and self.root.returncode is None:
            return None
        identity = (pid, table[pid][1]) if pid in table else None
        if identity is None or identity in self.members:
            return None
        member = _Member(*identity)
        if member.state() in _GONE:
            self.missed = True  # and he may have left a child
            return None
        self.members[identity] = member
        return member

    def _send_to_root(self, sig: int) -> None:
        try:
            self.root.send_signal(sig)
        except PermissionError:
            self.root_refused = True

    def send(self, sig: int) -> None:
        self._send_to_root(sig)
        for member in self.members.values():
            member.send(sig)

    def ask(self) -> None:
        """Let everybody know that it is time to end."""
        from signal import SIGCONT

        self.adopt_new()
        self.send(_SIGTERM)
        self.send(SIGCONT)  # who is stopped hears nothing

    def freeze(self) -> bool:
        """Stop everybody; whether the tree stands still and is known completely."""
        from signal import SIGSTOP

        deadline = monotonic() + _FREEZE_SECONDS
        self._send_to_root(SIGSTOP)
        for member in self.members.values():
            member.send(SIGSTOP)
        while True:
            all_still = self._await_stillness(deadline)
            new = self.adopt_new()
            if not new and not self.missed:
                return all_still
            for member in new:
                member.send(SIGSTOP)
            if monotonic() >= deadline:
                return False

    def _await_stillness(self, deadline: float) -> bool:
        while True:
            moving = any(
                member.state() not in _STILL for member in self.members.values() if not member.refused
            )
            if not moving and not self.root_refused and self.root.poll() is None:
                seen = _stat(self.root.pid)
                moving = seen is not None and seen[0] not in _STILL
            if not moving:
                return True
            if monotonic() >= deadline:
                return False
            sleep(_PAUSE)

    def await_end(self, seconds: float) -> bool:
        """Sleep until everybody has ended, or *seconds* have passed; whether everybody has."""
        deadline = deadline_after(seconds)
        if not self.root_refused and self.root.ended_within(max(seconds, 0.0)) is None:
            return False
        for member in self.members.values():
            while not member.refused and member.state() not in _GONE:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return False
                _sleep_until_end(member.fd, remaining)
        return True

    def take_status_of_orphans(self) -> None:
        """Of those ended whom the kernel has made our own children."""
        me = os.getpid()
        for (pid, started_at), member in self.members.items():
            seen = _stat(pid)
            if seen is not None and seen[0] == b"Z" and seen[1:] == (me, started_at):
                take_status(pid, member.fd, [])


def _sleep_until_end(fd: int, seconds: float) -> None:
    if fd < 0:
        sleep(min(seconds, 20 * _PAUSE))
        return
    import select

    bell = select.poll()
    bell.register(fd, select.POLLIN)
    bell.poll(min(seconds, 86_400.0) * 1000.0)


def _end_group(root: ProcessHandle, grace: float) -> None:
    """Without /proc: the group that the child leads, if it does."""

    def send(sig: int) -> None:
        if root.has_number():  # and so does the group of that number
            try:
                os.killpg(root.pid, sig)
            except (ProcessLookupError, PermissionError):
                root.send_signal(sig)

    if grace > 0:
        send(_SIGTERM)
        # Not wait(): once the leader's status is taken, its number is not ours to name any more.
        sleep(min(grace, _LONGEST_SLEEP))
    send(_SIGKILL)
    root.send_signal(_SIGKILL)
    root.wait(_END_SECONDS)
    root.give_number_back()


def ask_tree(root: ProcessHandle, mark: bytes | None) -> _Tree | None:
    """Send SIGTERM to *root* and all its descendants, and return them; None, and nothing sent, without /proc."""
    if not can_search():
        return None
    tree = _Tree(root, mark)
    tree.ask()
    return tree


def end_tree(root: ProcessHandle, mark: bytes | None, grace: float) -> None:
    """End *root* and all its descendants; return when they are gone.

    With *grace* everybody gets SIGTERM first and that many seconds. Raises PermissionError, when all others are
    gone, for those that belong to another user; built-in TimeoutError if the kernel does not let one go.
    """
    if not can_search():
        _end_group(root, grace)
        return
    tree = _Tree(root, mark)
    if grace > 0:
        tree.ask()
        tree.await_end(grace)
    deadline = monotonic() + _END_SECONDS
    complete = False
    while not complete and monotonic() < deadline:
        try:
            complete = tree.freeze()
        finally:  # out of descriptors, or interrupted: those who are known end all the same
            tree.send(_SIGKILL)
    gone = tree.await_end(max(deadline - monotonic(), _GONE_SECONDS))
    tree.take_status_of_orphans()
    left: list[Any] = [member for member in tree.members.values() if member.refused]
    if tree.root_refused and root.poll() is None:
        left.insert(0, root)
    if left:
        raise PermissionError(f"not allowed to end {_listed(left)}: run by another user")
    if not complete:
        raise TimeoutError(f"{root!r} has descendants that fork and end faster than they can be stopped")
    if not gone:
        raise TimeoutError(f"killed, but not gone: {_listed(tree.living()) or root}")


def _listed(members: Iterable[_Member | ProcessHandle]) -> str:
    return ", ".join(f"process {member.pid}" for member in members)
