"""`zapd events process` and `retry-failed`: by the daemon while one runs, on the database while none does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.receiver import Receiver, Reply

pytestmark = pytest.mark.e2e


async def zapd(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    """What a command prints, found by its configuration alone."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("events", *arguments, "--json", "--config", str(daemon.config), "--state-dir", str(daemon.state)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**daemon.environ, "ZAPD_HTTP__LISTEN": f"127.0.0.1:{daemon.port}"},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def test_events_are_processed_with_and_without_the_daemon(tmp_path: Path) -> None:
    async with Receiver() as crm:
        toml = f"""
        [targets."crm"]
        base_url = "{crm.url}"
        [routes."all"]
        types = ["cron.*"]
        actions = [{{ kind = "deliver", target = "crm", attempts = 2, backoff = "1ms" }}]
        [listeners]
        "cron.*" = ["tests.support.event_listeners:remember"]
        """
        async with Daemon(tmp_path / "state", toml) as daemon:
            for queue in ("event:process", "webhook:delivery"):
                await daemon.call("POST", f"/queues/{queue}/pause")
            ids = [(await zapd(daemon, "emit", "cron.tick", json.dumps({"n": n})))["id"] for n in range(5)]
            assert await zapd(daemon, "process", "2") == {"processed": 2, "actions": 4}  # asks the daemon
            assert await daemon.stop() == 0

            # No daemon: the rest is processed, oldest first, and everything that was asked for is done.
            assert (await zapd(daemon, "process", "1"))["processed"] == 1
            assert [call.json["data"]["n"] for call in crm.received] == [0, 1, 2]
            crm.reply = Reply(500)
            counts = await zapd(daemon, "process")
            assert (counts["processed"], counts["waiting"]) == (2, 2)
            await asyncio.sleep(0.05)  # the second try is due after its backoff
            assert (await zapd(daemon, "process"))["failed"] == 2
            crm.reply = Reply(204)
            assert (await zapd(daemon, "process"))["done"] == 0
            again = await zapd(daemon, "retry-failed", "10")
            assert (again["actions"], again["done"]) == (2, 2)
            assert {call.json["id"] for call in crm.received} == set(ids)

            await daemon.start()

            async def settled() -> bool:
                events = [(await daemon.call("GET", f"/events/{id_}"))[1] for id_ in ids]
                return all(action["state"] == "done" for event in events for action in event["actions"])

            await eventually(settled, within=20)
            why = await zapd(daemon, "why", ids[0])
            assert why["routes"][0]["matched"] is True
            dry = await zapd(daemon, "replay", "--type", "cron.*", "--dry-run")
            assert dry["events"] == 5
