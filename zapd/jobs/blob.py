"""How a job lies in Redis: one header line that scripts can read, then the payload, which nobody touches.

`1|attempt|crashes|priority|created|due|back|kind|lane|tenant\\n` + payload. `1` is the version of the header; `back` is
0 until the job comes back from a delay after a claim, which sends it to the head of its lane; from then on it says when
the job was due first.
"""

from zapd.errors import FieldError, InvalidInput
from zapd.jobs.job import Job

_SEPARATORS = 9


def encode(job: Job) -> bytes:
    """The blob of a job. Raises InvalidInput when kind, lane or tenant holds `|` or a line break."""
    numbers = f"1|{job.attempt}|{job.crashes}|{job.priority}|{job.created_at}|{job.due_at}|0"
    header = f"{numbers}|{job.kind}|{job.lane}|{job.tenant}"
    if header.count("|") != _SEPARATORS or "\n" in header:
        raise InvalidInput(FieldError("lane", "kind, lane and tenant of a job may not hold | or a line break"))
    return header.encode() + b"\n" + job.payload


def decode(queue: str, job_id: str, blob: bytes) -> Job:
    """The job of a blob. Raises ValueError when it is not one of this version's."""
    header, _, payload = blob.partition(b"\n")
    version, attempt, crashes, priority, created, due, back, kind, lane, tenant = header.decode().split("|")
    if version != "1":
        raise ValueError(f"unknown version of a job's header: {version}")
    return Job(
        id=job_id,
        queue=queue,
        payload=payload,
        priority=int(priority),
        created_at=int(created),
        kind=kind,
        lane=lane,
        due_at=int(due),
        tenant=tenant,
        attempt=int(attempt),
        crashes=int(crashes),
        first_due_at=int(back),
    )
