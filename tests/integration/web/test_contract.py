"""The shapes that clients and acceptance checks rely on, route by route: pages, what is not there, wrong methods."""

from typing import Any

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTS = [
    *("/connections", "/connections/main/messages", "/contacts", "/inbox", "/endpoints", "/deliveries"),
    *("/events", "/sources", "/mappings", "/routes", "/targets", "/syncs", "/quarantine", "/schedules"),
    *("/keys", "/tenants", "/audit", "/dead-letters", "/batches", "/queues/message:send/jobs", "/sandbox/main/ledger"),
]
THINGS = [
    *("/connections/{}", "/connections/{}/qr", "/connections/{}/messages", "/messages/{}", "/messages/{}/timeline"),
    *("/contacts/{}", "/media/{}/link", "/inbox/{}", "/endpoints/{}", "/endpoints/{}/events", "/deliveries/{}"),
    *("/events/{}", "/events/{}/why", "/sources/{}", "/mappings/{}", "/routes/{}", "/targets/{}", "/syncs/{}"),
    *("/schedules/{}", "/keys/{}", "/tenants/{}", "/queues/{}", "/queues/{}/jobs", "/jobs/{}"),
    *("/dead-letters/{}", "/batches/{}", "/sandbox/{}/ledger", "/nothing/{}"),
]
VERBS = [
    *("/connections/{}/pause", "/connections/{}/resume", "/messages/{}/retry", "/deliveries/{}/retry"),
    *("/jobs/{}/retry", "/dead-letters/{}/retry", "/actions/{}/retry", "/queues/{}/pause", "/queues/{}/resume"),
    *("/schedules/{}/run", "/schedules/{}/pause", "/keys/{}/rotate", "/endpoints/{}/ping", "/endpoints/{}/rotate"),
]


def is_problem(status: int, answer: Any, wanted: int) -> bool:
    return bool(status == wanted and answer["status"] == wanted and {"type", "title"} <= set(answer))


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_is_a_page_and_says_what_is_wrong_with_a_query(daemon: Daemon, connection: str, path: str) -> None:
    assert connection == "main"
    status, page = await daemon.call("GET", path + "?limit=2")
    assert (status, set(page)) == (200, {"data", "next"}), page
    assert len(page["data"]) <= 2
    status, problem = await daemon.call("GET", path + "?limit=0")
    assert is_problem(status, problem, 422)
    assert [error["field"] for error in problem["errors"]] == ["limit"]
    status, problem = await daemon.call("GET", path + "?surprise=1")
    assert is_problem(status, problem, 422)
    status, answer = await daemon.call("GET", path + "?after=%00no~place")
    assert status == 200 or is_problem(status, answer, 422)


@pytest.mark.parametrize("path", THINGS)
async def test_what_is_not_there_is_a_404_with_a_problem(daemon: Daemon, path: str) -> None:
    status, problem = await daemon.call("GET", path.format("nobody"))
    assert is_problem(status, problem, 404)


@pytest.mark.parametrize("path", VERBS)
async def test_nothing_can_be_done_with_what_is_not_there(daemon: Daemon, path: str) -> None:
    status, problem = await daemon.call("POST", path.format("nobody"))
    assert is_problem(status, problem, 404)


async def test_a_wrong_method_is_a_405_with_a_problem(daemon: Daemon) -> None:
    status, problem = await daemon.call("PUT", "/connections")
    assert is_problem(status, problem, 405)


@pytest.mark.parametrize("key", ["waiting", "active", "completed", "failed", "delayed", "activeJobs"])
async def test_existing_clients_find_every_number(daemon: Daemon, key: str) -> None:
    _, answer = await daemon.call("GET", "/api/queue/stats")
    assert all(key in queue for queue in answer["data"]["queues"].values())
