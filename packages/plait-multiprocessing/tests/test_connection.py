# SPDX-License-Identifier: MIT
"""Connection, Pipe and wait."""

from __future__ import annotations

import multiprocessing.connection as standard
import os
import pickle
import signal
import socket
import threading
import time

import mp_targets as targets
import pytest
from conftest_helpers import SOON
from hypothesis import given, settings
from hypothesis import strategies as st

from plait import multiprocessing as mp
from plait.multiprocessing.connection import Connection, Pipe, wait


@pytest.fixture(params=[True, False], ids=["duplex", "simplex"])
def pipe(request):
    reader, writer = Pipe(request.param)
    with reader, writer:
        yield reader, writer


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(), st.binary(max_size=5000), st.lists(st.text(max_size=20))))
)
def test_objects_arrive_whole_and_in_order(objects):
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        for obj in objects:
            writer.send(obj)
            assert reader.recv() == obj


@pytest.mark.parametrize("size", [0, 1, 4092, 4093, 16384, 16385, 65536, 300_000, 5_000_000])
def test_bytes_of_any_size_arrive(pipe, size):
    reader, writer = pipe
    data = os.urandom(min(size, 1000)) * (size // 1000 + 1)
    data = data[:size]
    sender = threading.Thread(target=writer.send_bytes, args=(data,))
    sender.start()
    assert reader.recv_bytes() == data
    sender.join()


def test_the_wire_is_the_standard_one():
    for size in (0, 5, 70_000):
        reader, writer = Pipe(duplex=False)
        theirs = standard.Connection(os.dup(writer.fileno()), readable=False)
        sender = threading.Thread(target=theirs.send_bytes, args=(b"q" * size,))
        sender.start()
        assert reader.recv_bytes() == b"q" * size
        sender.join()
        theirs.close()
        theirs = standard.Connection(os.dup(reader.fileno()), writable=False)
        sender = threading.Thread(target=writer.send_bytes, args=(b"w" * size,))
        sender.start()
        assert theirs.recv_bytes() == b"w" * size
        sender.join()
        theirs.close()
        reader.close()
        writer.close()


def test_slices_and_buffers():
    one, other = Pipe()
    with one, other:
        one.send_bytes(b"0123456789", 2, 5)
        assert other.recv_bytes() == b"23456"
        one.send_bytes(memoryview(b"abc"))
        room = bytearray(10)
        assert other.recv_bytes_into(room, 4) == 3
        assert room == b"\0\0\0\0abc\0\0\0"
        one.send_bytes(b"too long")
        with pytest.raises(mp.BufferTooShort) as caught:
            other.recv_bytes_into(bytearray(3))
        assert caught.value.args[0] == b"too long"
        for wrong in ((b"x", -1), (b"x", 2), (b"x", 0, -1), (b"x", 0, 2)):
            with pytest.raises(ValueError):
                one.send_bytes(*wrong)


def test_message_beyond_maxlength_closes_the_connection():
    one, other = Pipe()
    one.send_bytes(b"12345")
    with pytest.raises(OSError, match="maxlength=4"):
        other.recv_bytes(4)
    assert other.closed
    one.close()


def test_directions_are_respected():
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        assert (reader.readable, reader.writable, writer.readable, writer.writable) == (
            True,
            False,
            False,
            True,
        )
        with pytest.raises(OSError, match="receive-only"):
            reader.send(1)
        for call in (writer.recv, writer.poll, writer.recv_bytes):
            with pytest.raises(OSError, match="send-only"):
                call()


def test_unpicklable_object_sends_nothing():
    one, other = Pipe()
    with one, other:
        with pytest.raises((AttributeError, TypeError, Exception), match=r"lambda|pickle"):
            one.send(lambda: 0)
        one.send("next")
        assert other.recv() == "next"


def test_end_of_the_peer_is_eof_for_the_reader_and_broken_pipe_for_the_writer(pipe):
    reader, writer = pipe
    writer.send(1)
    writer.close()
    assert reader.recv() == 1
    assert reader.poll()
    for _ in range(2):
        with pytest.raises(EOFError):
            reader.recv()
    one, other = Pipe()
    other.close()
    with pytest.raises(BrokenPipeError):
        one.send(1)
    one.close()


def test_closed_connection_says_so():
    one, other = Pipe()
    other.close()
    one.close()
    one.close()
    assert one.closed
    for call in (lambda: one.send(1), one.recv, one.poll, one.fileno):
        with pytest.raises(OSError, match="closed"):
            call()


def test_sender_killed_in_the_middle_of_a_message_is_eof(ctx):
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.send_large, args=(there, 50_000_000))
    process.start()
    there.close()
    assert here.poll(20)  # a part of it is here; the pipe is full, and the sender waits in the middle
    process.kill()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(EOFError, match="middle of a message"):
        here.recv_bytes()
    here.close()


def test_messages_of_many_threads_do_not_mix(pipe):
    reader, writer = pipe
    sizes = [10, 3000, 70_000]

    def send(who):
        for i in range(30):
            writer.send_bytes(bytes([who]) * sizes[i % 3])

    threads = [threading.Thread(target=send, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(120):
        message = reader.recv_bytes()
        assert len(set(message)) == 1
        assert len(message) in sizes
    for thread in threads:
        thread.join()


def test_close_in_another_thread_ends_a_blocked_recv(pipe):
    reader, _writer = pipe
    caught = []

    def receive():
        try:
            reader.recv()
        except OSError as error:
            caught.append(str(error))

    thread = threading.Thread(target=receive)
    thread.start()
    while not reader._bells:
        time.sleep(0.001)
    fd = reader.fileno()
    reader.close()
    thread.join(SOON)
    assert len(caught) == 1
    assert "closed by another thread" in caught[0]
    with pytest.raises(OSError):
        os.fstat(fd)


def test_send_from_a_signal_handler_within_a_send_follows_it():
    """The handler runs while the main thread is blocked in the middle of a large send."""
    reader, writer = Pipe(duplex=False)
    received = []
    begun, handled = threading.Event(), []

    def handler(*_):
        begun.set()
        writer.send("from the handler")
        handled.append(True)

    def drain():
        reader.poll(SOON)  # a part of it is here; the pipe is full, and the sender waits in the middle
        os.kill(os.getpid(), signal.SIGUSR1)
        begun.wait(SOON)
        time.sleep(0.1)
        received.extend((reader.recv(), reader.recv()))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        thread = threading.Thread(target=drain)
        thread.start()
        writer.send(b"z" * 1_000_000)
        thread.join(SOON)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled
    assert received == [b"z" * 1_000_000, "from the handler"]


def test_interrupted_large_send_breaks_the_connection_and_says_so():
    reader, writer = Pipe(duplex=False)

    def handler(*_):
        raise ZeroDivisionError("out of the handler")

    def interrupt():
        reader.poll(SOON)  # as above
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(ZeroDivisionError):
            writer.send_bytes(b"z" * 10_000_000)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(OSError, match="interrupted"):
        writer.send(1)
    reader.close()


def test_poll_waits_as_long_as_asked():
    one, other = Pipe()
    with one, other:
        begin = time.monotonic()
        assert not one.poll(0.15)
        assert 0.15 <= time.monotonic() - begin < SOON
        other.send(1)
        assert one.poll(None)
        assert one.poll(float("inf"))


def test_wait_takes_connections_sockets_numbers_and_any_number_of_them():
    pipes = [Pipe(duplex=False) for _ in range(1100)]
    left, right = socket.socketpair()
    with left, right:
        begin = time.monotonic()
        assert wait([pipes[0][0], right], timeout=0.1) == []
        assert 0.1 <= time.monotonic() - begin < SOON
        pipes[1050][1].send(1)
        left.send(b"x")
        pipes[3][1].close()
        objects = [reader for reader, _ in pipes] + [right, pipes[1050][0].fileno()]
        ready = wait(objects, timeout=SOON)
        assert ready == [pipes[3][0], pipes[1050][0], right, pipes[1050][0].fileno()]
    for ends in pipes:
        for end in ends:
            end.close()
    assert wait([], timeout=0) == []
    with pytest.raises(OSError):
        wait([pipes[0][0]], timeout=0)


def test_pickling_outside_a_start_is_refused():
    one, other = Pipe()
    with one, other, pytest.raises(RuntimeError, match="not supported yet"):
        one.send(other)


def test_invalid_handles_are_refused():
    with pytest.raises(ValueError):
        Connection(-1)
    with pytest.raises(ValueError):
        Connection(0, readable=False, writable=False)


def test_echo_through_a_child(ctx):
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.echo, args=(there,))
    process.start()
    there.close()
    for obj in (1, "two", [3.0], {"four": b"4" * 200_000}):
        here.send(obj)
        assert here.recv() == obj
    here.send("stop")  # a forked child holds `here` itself: it would not see its end
    process.join(20)
    assert process.exitcode == 0
    here.close()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\xff\xff\xff\xfe", OSError),
        (b"\x80\0\0\0" + b"x" * 100, OSError),
        (b"\xff" * 12, EOFError),
        (b"\x7f\xff\xff\xff" + b"x" * 10, EOFError),
        (b"\xff\xff\xff\xff\0\0\1\0\0\0\0\0", EOFError),
        (b"\0\0", EOFError),
        (b"\0\0\0\5\x80\5x..", pickle.UnpicklingError),
    ],
)
def test_bytes_that_are_no_message_are_an_error_at_once(data, error):
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with Connection(reader, writable=False) as connection, pytest.raises(error):
        connection.recv()
