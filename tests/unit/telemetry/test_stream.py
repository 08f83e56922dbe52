"""Log lines leave through a thread: a reader that stalls costs lines, never time."""

import os

from zapd.telemetry.stream import StreamSink


def test_lines_arrive_whole_and_in_order() -> None:
    reader, writer = os.pipe()
    sink = StreamSink(descriptor=writer)
    for n in range(1_000):
        sink.write(b"line %d\n" % n)
    sink.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read() == b"".join(b"line %d\n" % n for n in range(1_000))
    assert sink.dropped == 0


def test_a_reader_that_stalls_costs_lines_and_no_time() -> None:
    reader, writer = os.pipe()
    sink = StreamSink(descriptor=writer, limit=10)
    for _ in range(200):
        sink.write(b"x" * 65_536)  # the pipe holds one of them
    assert sink.dropped >= 100
    os.close(reader)  # the thread's write ends with an error, which is counted too
    sink.close()
    os.close(writer)
    assert sink.dropped >= 198


def test_close_twice_is_harmless() -> None:
    reader, writer = os.pipe()
    sink = StreamSink(descriptor=writer)
    sink.close()
    sink.close()
    os.close(reader)
    os.close(writer)
