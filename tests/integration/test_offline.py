"""The event hub without a daemon, in this process: one event that cannot be read does not hold up the others."""

from pathlib import Path
from typing import Any

from tests.support.store import event
from zapd.app import App
from zapd.config import load
from zapd.events.desk import Desk
from zapd.events.envelope import state_of
from zapd.model.hub import Progress
from zapd.model.webhook import Category
from zapd.offline import Offline


async def test_an_event_that_cannot_be_read_is_marked_and_those_behind_it_go_on(tmp_path: Path) -> None:
    app = App(config=load(None, environ={}, overrides={"state.dir": str(tmp_path)}), on_failed=lambda *_: None)
    storage = app._storage

    async def use(offline: Offline, desk: Desk) -> dict[str, Any]:
        for name, payload in (("evt_1", b"no json"), ("evt_2", b'{"timestamp":"2026-01-01T00:00:00Z","data":{}}')):
            made = event(name, type="x.y", category=Category.OWN, payload=payload)
            state = state_of(made, at=made.created_at)
            await storage.writer.commit_all([storage.events.recorded(made), storage.event_states.added(state)])
        counts = await offline.run(10)
        states = [await storage.event_states.get("default", name) for name in ("evt_1", "evt_2")]
        assert [state.progress for state in states if state] == [Progress.FAILED, Progress.DONE]
        assert states[0] is not None
        assert "JSONDecodeError" in (states[0].error or "")
        again = await desk.retry_failed("default", 10)
        return {**counts, **again}

    counts = await app.offline(use)
    assert (counts["processed"], counts["events"]) == (2, 1)
