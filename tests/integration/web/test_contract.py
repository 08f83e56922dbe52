"""The shapes that clients and acceptance checks rely on, route by route: pages, what is not there, wrong methods."""

from typing import Any

import pytest

from tests.support.daemon import Daemon
from zapd.web.dependencies import JobState
from zapd.web.routes import ROUTES

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


async def make_some(daemon: Daemon) -> None:
    """Three of each kind whose ids users choose, and some that zapd names."""
    hello = {"to": "5511999998888", "type": "text", "payload": {"text": "hello"}}
    bodies: dict[str, Any] = {
        "/connections": {"transport": "sandbox", "label": "x"},
        "/sources": {"verify": "github", "secret": "gh"},
        "/tenants": {"name": "x"},
        "/batches": {"jobs": [{"queue": "billing:check", "payload": {}}]},
    }
    for name in [f"own-{n}" for n in range(3)]:
        for path, body in bodies.items():
            named = {"name": name} if path == "/sources" else {"id": name}
            status, made = await daemon.call("POST", path, {**body, **named})
            assert status in (200, 201, 202, 409), made
        for more in ({"message_id": name}, {}):
            await daemon.call("POST", "/connections/main/send", {**hello, **more})


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


@pytest.mark.parametrize("nonsense", ["nonsense", "%00no~place", "-1", "xxx_01KB3QK7ZB8Q0T0N9V5C1D2E3F", "~%20"])
@pytest.mark.parametrize("path", [*LISTS, *(f"/queues/message:send/jobs?state={state}" for state in JobState)])
async def test_a_cursor_that_no_page_gave_is_refused(daemon: Daemon, connection: str, path: str, nonsense: str) -> None:
    assert connection == "main"
    status, problem = await daemon.call("GET", f"{path}{'&' if '?' in path else '?'}after={nonsense}")
    assert is_problem(status, problem, 422)
    assert problem["errors"] == [{"field": "after", "rule": "the `next` of the page before"}]


@pytest.mark.parametrize(
    "path", ["/connections?", "/connections/main/messages?direction=outbound&", "/sources?", "/tenants?", "/batches?"]
)
async def test_pages_follow_each_other_also_by_ids_that_users_chose(daemon: Daemon, connection: str, path: str) -> None:
    assert connection == "main"
    await make_some(daemon)
    _, whole = await daemon.call("GET", path + "limit=1000")
    keys = [one.get("id") or one["name"] for one in whole["data"]]
    assert {f"own-{n}" for n in range(3)} <= set(keys)
    found, after = [], ""
    while after is not None:
        _, page = await daemon.call("GET", f"{path}limit=1&after={after}")
        found += [one.get("id") or one["name"] for one in page["data"]]
        after = page["next"]
    assert found == keys


@pytest.mark.parametrize(("method", "path"), [(r.method, r.path) for r in ROUTES if not r.any_query])
async def test_every_route_refuses_a_parameter_it_does_not_know(daemon: Daemon, method: str, path: str) -> None:
    given = path.replace("{", "").replace("}", "") + "?limmit=2&limit=1&limit=2"
    status, problem = await daemon.call(method, given)
    assert is_problem(status, problem, 422)
    errors = {error["field"]: error["rule"] for error in problem["errors"]}
    (route,) = [r for r in ROUTES if (r.method, r.path) == (method, path)]
    if route.query is None:
        assert errors["limmit"] == errors["limit"] == "this route takes no parameters"
    else:
        assert errors["limmit"] == f"no such parameter; there are {', '.join(route.query.model_fields)}"
        assert "limit" in errors


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/docs", "/dashboard/login"])
async def test_probes_and_browsers_bring_what_they_like(daemon: Daemon, path: str) -> None:
    assert (await daemon.call("GET", path + "?_=1"))[0] == 200


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
