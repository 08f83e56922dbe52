"""The header of a job."""

from dataclasses import replace

import pytest

from zapd.errors import InvalidInput
from zapd.jobs.blob import decode, encode
from zapd.jobs.job import Job

JOB = Job(
    id="job_1",
    queue="work",
    payload=b"\x00|\n\xff",
    priority=7,
    created_at=1,
    kind="send",
    lane="con_ç",
    due_at=2,
    tenant="t",
    attempt=3,
    crashes=1,
)


def test_a_job_is_the_same_after_both_ways() -> None:
    assert decode("work", "job_1", encode(JOB)) == JOB


def test_the_payload_is_kept_as_bytes_behind_one_line() -> None:
    assert encode(JOB) == "1|3|1|7|1|2|0|send|con_ç|t\n".encode() + JOB.payload


@pytest.mark.parametrize("bad", [{"lane": "a|b"}, {"kind": "a\nb"}, {"tenant": "|"}])
def test_what_would_break_the_header_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        encode(replace(JOB, **bad))  # type: ignore[arg-type]  # one string field each


@pytest.mark.parametrize("blob", [b"", b"2|3|1|7|1|2|0|send|l|t\n", b"1|x|1|7|1|2|0|send|l|t\n", b"\xff|\n"])
def test_another_versions_blob_is_not_guessed_at(blob: bytes) -> None:
    with pytest.raises(ValueError):
        decode("work", "job_1", blob)
