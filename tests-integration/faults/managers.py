# SPDX-License-Identifier: MIT
"""Managers and their proxies (rows MM).

MM9 is not here: that a change to a plain list within a shared dictionary is lost is documented, and the row only asks for
something to opt into, which has no name yet.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from .evidence import brief, is_a, must_say, noted, one_process
from .scenario import Impl, Wrong, returns, scenario

MANAGERS = ("multiprocessing.managers.BaseManager",)


class Child:
    def name(self) -> str:
        return "the child"


class Parent:
    def make_child(self) -> Child:
        return Child()


def family(impl: Impl) -> Any:
    """A manager that knows both, and that make_child() returns a proxy."""
    manager = impl.module("multiprocessing.managers").BaseManager()
    manager.register("Child", exposed=("name",))
    manager.register("Parent", Parent, exposed=("make_child",), method_to_typeid={"make_child": "Child"})
    return manager


def ask_for_a_child(parent: Any, note: Path) -> None:
    try:
        said = "got " + parent.make_child().name()
    except Exception as error:
        said = brief(error)
    note.write_text(said)


def read_first(shared: Any, note: Path) -> None:
    try:
        said = f"read {shared[0]!r}"
    except Exception as error:
        said = brief(error)
    note.write_text(said)


def in_a_child(impl: Impl, target: Any, *args: Any) -> str:
    """What the target notes when it is run in a process."""
    note = Path("note").absolute()
    process = impl.multiprocessing.Process(target=target, args=(*args, note))
    process.start()
    returns(10, process.join)
    process.close()
    return noted(note, 0)


@scenario(
    "MM2",
    "a proxy given to a child calls a method that returns a proxy",
    reproduced=True,
    needs=MANAGERS,
    warm=one_process,
)
def proxy_from_a_proxy(impl: Impl) -> None:
    with family(impl) as manager:
        parent = manager.Parent()
        said = in_a_child(impl, ask_for_a_child, parent)
        del parent
    if said != "got the child":
        raise Wrong(f"in the child: {said!r}")


def with_own_key(impl: Impl) -> Any:
    manager = impl.module("multiprocessing.managers").SyncManager(authkey=b"a key of its own")
    manager.start()
    return manager


@scenario(
    "MM3", "a proxy of a manager with its own authkey works in a child", needs=MANAGERS, warm=one_process
)
def own_key_in_a_child(impl: Impl) -> None:
    with with_own_key(impl) as manager:
        shared = manager.list(["first"])
        said = in_a_child(impl, read_first, shared)
        del shared
    if said != "read 'first'":
        raise Wrong(f"in the child: {said!r}")


@scenario(
    "MM3",
    "a proxy within a proxy of a manager with its own authkey works",
    reproduced=True,
    needs=MANAGERS,
    warm=one_process,
)
def own_key_nested(impl: Impl) -> None:
    with with_own_key(impl) as manager:
        outer = manager.list()
        try:
            outer.append(manager.list(["first"]))
            got = returns(5, lambda: outer[0][0])
        except Wrong:
            raise
        except Exception as error:
            raise Wrong(f"raised {brief(error)!r}") from error
    if got != "first":
        raise Wrong(f"outer[0][0] is {got!r}")


@scenario(
    "MM7",
    "a proxy whose manager died raises ManagerDied with address and pid",
    reproduced=True,
    needs=MANAGERS,
    warm=one_process,
)
def manager_died(impl: Impl) -> None:
    manager = impl.multiprocessing.Manager()
    shared = manager.list()
    shared.append(0)  # the connection stands
    address = manager.address
    (server,) = (child for child in impl.multiprocessing.active_children())
    os.kill(server.pid, signal.SIGKILL)
    returns(5, server.join)
    try:
        shared.append(1)
    except Exception as error:
        if not is_a(error, "ManagerDied"):
            raise Wrong(f"raised {brief(error)!r}") from error
        must_say(error, str(address), str(server.pid))
    else:
        raise Wrong("nothing was raised")
