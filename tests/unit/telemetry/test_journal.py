"""Entries in journald's own protocol, and a sink that never waits for it."""

import os
import socket
import struct
from pathlib import Path

from zapd.telemetry.journal import JournalSink, connected_to_journal, datagram


def fields(entry: bytes) -> dict[str, str]:
    """A reader of the protocol: `NAME=value\\n`, or `NAME\\n`, 8 bytes of length, value, `\\n`."""
    found = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        found[name.decode()] = value.decode()
        entry = rest
    return found


def test_an_entry_reads_like_a_sentence_and_each_field_stands_alone() -> None:
    event = {
        "event": "message.sent",
        "level": "warning",
        "logger": "zapd.messaging",
        "message_id": "msg_1",
        "attempt": 2,
    }
    entry = fields(datagram(event))
    assert entry.pop("MESSAGE_ID")
    assert entry == {
        "MESSAGE": "message.sent message_id=msg_1 attempt=2",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "zapd",
        "ZAPD_EVENT": "message.sent",
        "ZAPD_LOGGER": "zapd.messaging",
        "ZAPD_MESSAGE_ID": "msg_1",
        "ZAPD_ATTEMPT": "2",
    }


def test_a_traceback_keeps_its_lines() -> None:
    entry = fields(datagram({"event": "x.crashed", "level": "error", "exception": "Traceback\n  boom"}))
    assert entry["MESSAGE"] == "x.crashed\nTraceback\n  boom"
    assert entry["PRIORITY"] == "3"


def test_the_message_id_is_the_same_for_every_entry_of_one_kind() -> None:
    ids = [fields(datagram({"event": name, "n": n}))["MESSAGE_ID"] for n, name in enumerate(("a.b", "a.b", "a.c"))]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 32


def test_a_value_too_long_for_a_datagram_is_cut() -> None:
    assert len(datagram({"event": "x.y", "stack": "x" * 1_000_000})) < 100_000


def test_journal_stream_counts_only_for_the_descriptor_it_names(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR)
    status = os.fstat(descriptor)
    named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert connected_to_journal(named, (descriptor,))
    assert not connected_to_journal({"JOURNAL_STREAM": "1:2"}, (descriptor,))
    assert not connected_to_journal({}, (descriptor,))
    os.close(descriptor)
    assert not connected_to_journal(named, (descriptor,))


def test_entries_wait_for_a_journald_that_restarts_and_the_rest_is_counted(tmp_path: Path) -> None:
    sink = JournalSink(path=str(tmp_path / "journal"), limit=2)
    for entry in (b"1", b"2", b"3"):
        sink.write(entry)
    assert sink.dropped == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "journal"))
        sink.close()
        assert [journald.recv(16), journald.recv(16)] == [b"1", b"2"]
    assert sink.dropped == 1


def test_a_full_journald_does_not_block(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "journal"))
        sink = JournalSink(path=str(tmp_path / "journal"), limit=10)
        for _ in range(1_000):
            sink.write(b"x" * 1_000)
        assert sink.dropped > 0
        sink.close()


def test_an_entry_that_cannot_be_sent_does_not_stop_the_others(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "journal"))
        sink = JournalSink(path=str(tmp_path / "journal"))
        sink.write(b"x" * 10_000_000)
        sink.write(b"small")
        assert journald.recv(16) == b"small"
        assert sink.dropped == 1
        sink.close()
