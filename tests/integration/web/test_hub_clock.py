"""The hub by the clock: schedules that emit, syncs that they start, the weekly self-test; and syncs over a crash."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def api() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory, api: Receiver) -> AsyncIterator[Daemon]:
    toml = f"""
    [targets."shop"]
    base_url = "{api.url}"
    breaker_failures = 1000
    [syncs."orders"]
    target = "shop"
    path = "/orders?open=1"
    items = "data"
    id = "join('/', [id, version])"
    type = "order.synced"
    paging = "cursor"
    parameter = "after"
    cursor = "next"
    [routes."nightly"]
    types = ["nightly.sync"]
    actions = [{{ kind = "sync", sync = "orders" }}]
    [schedules."night"]
    cron = "0 3 1 1 *"
    emit = "nightly.sync"
    """
    async with Daemon(tmp_path_factory.mktemp("state"), toml) as running:
        yield running


async def test_a_schedule_emits_an_event_whose_route_starts_a_sync_that_survives_a_kill(
    daemon: Daemon, api: Receiver
) -> None:
    asked: list[str] = []

    async def respond(request: web.Request) -> web.StreamResponse:
        at = int(request.query.get("after", "0"))
        asked.append(request.path_qs)
        if at == 4 and asked.count(request.path_qs) == 1:
            await asyncio.sleep(30)  # the daemon is killed while it waits for this page
        items = [{"id": f"o{at}{i}", "version": "1"} for i in range(3)]
        return web.json_response({"data": items, "next": at + 1 if at < 6 else None})

    api.respond = respond

    async def known() -> bool:  # the clock takes the file's schedules at its first look
        return (await daemon.call("GET", "/schedules/night"))[0] == 200

    await eventually(known, within=20)
    status, ran = await daemon.call("POST", "/schedules/night/run")
    assert status == 202
    await eventually(lambda: any("after=4" in path for path in asked), within=40)
    assert asked[0] == "/hook/orders?open=1"
    await daemon.kill()
    await daemon.start()

    async def done() -> Any:
        run = (await daemon.call("GET", "/syncs/orders/run"))[1]
        return run if run.get("state") == "done" else None

    run = await eventually(done, within=40)
    assert (run["page"], run["items"], run["new"]) == (7, 21, 21)
    assert asked.count("/hook/orders?open=1&after=0") <= 1
    assert asked.count("/hook/orders?open=1&after=2") == 1  # pages before the kill were not read again
    told = await daemon.pages("/events?type=order.synced")
    assert len({event["data"]["id"] for event in told}) == len(told) == 21
    event = (await daemon.call("GET", f"/events/{ran['made']}"))[1]
    assert (event["type"], event["actions"][0]["state"], event["actions"][0]["result"]) == (
        "nightly.sync",
        "done",
        run["run"],
    )


async def test_a_sync_whose_target_fails_ends_and_tells(daemon: Daemon, api: Receiver) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    api.respond = respond
    given = {"target": "shop", "path": "/x", "items": "data", "id": "id", "type": "broken.item", "paging": "none"}
    assert (await daemon.call("POST", "/syncs", {"name": "broken", **given}))[0] == 201
    assert (await daemon.call("POST", "/syncs/broken/start"))[0] == 202

    async def failed() -> Any:
        return (await daemon.call("GET", "/events?type=sync.failed"))[1]["data"]

    (event,) = await eventually(failed, within=60)
    assert (event["data"]["sync"], event["data"]["state"]) == ("broken", "failed")
    assert "gave no JSON" in event["data"]["error"]
    assert (await daemon.call("POST", "/syncs/broken/start"))[0] == 202  # it may begin anew


async def test_the_self_test_raises_an_alarm_when_a_stored_event_no_longer_maps(daemon: Daemon) -> None:
    await daemon.call("POST", "/mappings", {"name": "total", "jmespath": "{total: data.total}"})
    action = {"kind": "emit", "type": "mapped.total", "mapping": "total"}
    await daemon.call("POST", "/routes", {"name": "totals", "types": ["sale.*"], "actions": [action]})
    sold = (await daemon.call("POST", "/events", {"type": "sale.made", "data": {"total": "ten"}}))[1]["id"]

    async def processed() -> bool:
        return bool((await daemon.call("GET", f"/events/{sold}"))[1]["progress"] == "done")

    await eventually(processed, within=20)
    assert (await daemon.call("POST", "/schedules/selftest/run"))[0] == 202
    await asyncio.sleep(0)
    assert (await daemon.call("GET", "/events?type=selftest.failed"))[1]["data"] == []

    await daemon.call("PATCH", "/mappings/total", {"jmespath": "{total: abs(data.total)}"})
    assert (await daemon.call("POST", "/schedules/selftest/run"))[0] == 202

    async def alarmed() -> Any:
        return (await daemon.call("GET", "/events?type=selftest.failed"))[1]["data"]

    (alarm,) = await eventually(alarmed, within=30)
    assert alarm["data"]["first"][0]["event_id"] == sold
    assert "mapping total@2" in alarm["data"]["first"][0]["errors"][0]
    emitted = (await daemon.call("GET", "/events?type=mapped.*"))[1]["data"]
    assert len(emitted) == 1  # the self-test did nothing
