"""The retention, slice by slice."""

from prometheus_client import CollectorRegistry

from tests.support.store import outbox_row
from zapd.janitor import Janitor
from zapd.outbox import job_of


async def test_every_slice_goes_and_is_counted() -> None:
    registry = CollectorRegistry()
    slices = {"events": [200, 200, 7], "messages": []}
    asked: list[tuple[str, int]] = []

    async def purge(table: str, before: int) -> int:
        asked.append((table, before))
        return slices[table].pop(0) if slices[table] else 0

    async def clean_queue(_queue: str) -> int:
        return 0

    janitor = Janitor(
        retention={"events": 1_000, "messages": 3_000},
        purge=purge,
        queues=["message:send"],
        clean_queue=clean_queue,
        now_ms=lambda: 10_000,
        registry=registry,
    )
    await janitor.clean(job_of(outbox_row()))

    def deleted(table: str) -> float | None:
        return registry.get_sample_value("zapd_retention_deleted_total", {"table": table})

    assert asked == [("events", 9_000)] * 4 + [("messages", 7_000)]
    assert (deleted("events"), deleted("messages")) == (407, 0)
