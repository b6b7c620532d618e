# SPDX-License-Identifier: MIT
"""Connections between processes: pipes, listeners and clients (rows MQ11 to MQ15)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .evidence import asleep_thread, brief, raised_by
from .scenario import Impl, Wrong, program, returns, scenario

# A row of its own names no figure for the handshake. This is what a user will wait before he looks for the error elsewhere.
HANDSHAKE = 10.0


@scenario(
    "MQ11",
    "Client(authkey=...) to a listener without one raises AuthenticationError",
    deadline=HANDSHAKE + 10,
    reproduced=True,
    needs=("multiprocessing.connection.Client", "multiprocessing.connection.Listener"),
)
def key_for_a_listener_without(impl: Impl) -> None:
    connection = impl.module("multiprocessing.connection")
    accepted: list[Any] = []
    with connection.Listener(str(Path("socket").absolute()), "AF_UNIX") as listener:
        accepting = impl.threading.Thread(target=lambda: accepted.append(listener.accept()), daemon=True)
        accepting.start()
        error = raised_by(HANDSHAKE, connection.Client, listener.address, authkey=b"key")
        if not isinstance(error, impl.multiprocessing.AuthenticationError):
            raise Wrong(f"Client() raised {brief(error)!r}")
        accepting.join(5)
        for server_side in accepted:
            server_side.close()


WITH_A_MANAGER = """
def main():
    with impl.multiprocessing.Manager() as manager:
        shared = manager.list([1])
        shared.append(2)
        print("works", list(shared), flush=True)

if __name__ == "__main__":
    main()
"""

WITH_A_FORKSERVER = """
def say():
    print("works [1, 2]", flush=True)

def main():
    process = impl.multiprocessing.get_context("forkserver").Process(target=say)
    process.start()
    process.join()

if __name__ == "__main__":
    main()
"""


def _with_a_long_folder(impl: Impl, code: str) -> None:
    folder = Path.cwd().absolute()
    folder = folder / ("x" * (105 - len(str(folder)) - 1))
    folder.mkdir()
    with program(impl, code, env={"TMPDIR": str(folder)}) as running:
        running.wait(15)
        if "works [1, 2]" not in running.out:
            found = re.search(r".*AF_UNIX.*|.*Error.*", running.err)
            raise Wrong(f"it said {found[0] if found else running.err[-200:]!r}")


@scenario(
    "MQ13",
    "a Manager works with a TMPDIR of 105 characters",
    reproduced="<3.14",
    needs=("multiprocessing.Manager",),
)
def manager_in_a_long_folder(impl: Impl) -> None:
    _with_a_long_folder(impl, WITH_A_MANAGER)


@scenario(
    "MQ13",
    "a forkserver works with a TMPDIR of 105 characters",
    reproduced="<3.14",
    needs=("multiprocessing.forkserver",),
)
def forkserver_in_a_long_folder(impl: Impl) -> None:
    _with_a_long_folder(impl, WITH_A_FORKSERVER)


def one_wait(impl: Impl) -> None:
    """What an implementation keeps for the next who waits is there then."""
    here, there = impl.multiprocessing.Pipe()
    receiver = impl.threading.Thread(target=here.recv_bytes, daemon=True)
    receiver.start()
    asleep_thread(receiver.native_id)
    there.send_bytes(b"awake")
    receiver.join(5)
    here.close()
    there.close()


@scenario(
    "MQ15", "close() of another thread makes a blocked recv() raise; it reads nothing else", warm=one_wait
)
def closed_while_receiving(impl: Impl) -> None:
    here, there = impl.multiprocessing.Pipe()
    outcome: list[Any] = []
    number = here.fileno()

    def receive() -> None:
        try:
            outcome.append(here.recv_bytes())
        except (OSError, EOFError, ValueError) as error:
            outcome.append(error)

    receiver = impl.threading.Thread(target=receive, daemon=True)
    receiver.start()
    asleep_thread(receiver.native_id)
    here.close()
    # The number goes to the next who asks. What arrives there is not the receiver's.
    strangers = [impl.multiprocessing.Pipe()]
    while strangers[-1][0].fileno() != number and len(strangers) < 20:
        strangers.append(impl.multiprocessing.Pipe())
    reused, other = strangers[-1]
    other.send_bytes(b"for somebody else")
    receiver.join(2)
    if receiver.is_alive():
        raise Wrong("recv_bytes() did not end within 2 s")
    if not isinstance(outcome[0], Exception):
        raise Wrong(f"recv_bytes() returned {outcome[0]!r}")
    if reused.fileno() == number and returns(2, reused.recv_bytes) != b"for somebody else":
        raise Wrong("the new pipe lost its message")
    for pair in strangers:
        for end in pair:
            end.close()
    there.close()
