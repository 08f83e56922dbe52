"""Queues over HTTP and on the command line: limits, lanes, kinds, priorities, strangers, numbers."""

from typing import Any

import pytest

from tests.integration.web.test_cli import asked
from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOML = """
[queues."billing:check"]
action = "noop"
[queues."billing:slow"]
action = "noop"
concurrency = 2
max_concurrency = 4
"""
SLOW, CHECK = "/queues/billing:slow", "/queues/billing:check"


async def patched(daemon: Daemon, path: str, body: Any) -> tuple[int, Any]:
    status, answer, *_ = await daemon.call("PATCH", path, body)
    return status, answer


async def got(daemon: Daemon, path: str) -> Any:
    status, answer, *_ = await daemon.call("GET", path)
    assert status == 200, answer
    return answer


async def posted(daemon: Daemon, path: str, body: Any) -> Any:
    status, answer, *_ = await daemon.call("POST", path, body)
    assert status in (200, 202), answer
    return answer


async def put(daemon: Daemon, queue: str, *jobs: dict[str, Any]) -> list[str]:
    answer = await posted(daemon, f"{queue}/jobs", {"jobs": [{"payload": {}, **job} for job in jobs]})
    return [item["id"] for item in answer["data"]]


async def test_limits_change_while_it_runs_and_can_be_given_back(daemon: Daemon) -> None:
    status, changed = await patched(daemon, SLOW, {"max_concurrency": 9, "rate": "6000/min", "max_in_flight": 3})
    assert status == 200
    limits = changed["limits"]
    assert (limits["concurrency"], limits["max_concurrency"], limits["rate"]) == (2, 9, 6000)
    assert limits["changed"] == {"max_concurrency": 9, "rate": "6000/min", "max_in_flight": 3}

    _, back = await patched(daemon, SLOW, {"max_concurrency": None, "rate": None, "max_in_flight": None})
    assert (back["max_concurrency"], back["limits"]["rate"], back["limits"]["changed"]) == (4, None, {})


@pytest.mark.parametrize(
    ("path", "body", "field", "rule"),
    [
        (SLOW, {"concurrency": 0}, "concurrency", "1 to 10,000"),
        (SLOW, {"concurrency": 5}, "concurrency", "max_concurrency (4)"),
        (SLOW, {"lane_cap": "many"}, "lane_cap", "valid integer"),
        (SLOW, {"lane_cap": 0}, "lane_cap", "1 to 10,000"),
        (SLOW, {"speed": 1}, "speed", "not permitted"),
        ("/queues", {"max_in_flight": 0}, "max_in_flight", "1 to 1,000,000"),
        ("/queues", {}, "body", "one or more of max_in_flight"),
        ("/queues", {"rate": "0/s"}, "rate", "10/s"),
        ("/queues", {"tenants": {"acme": {"max_in_flight": 0}}}, "tenants.acme.max_in_flight", "1 to 10,000"),
        ("/queues", {"tenants": {"a b": {}}}, "tenants.a b.[key]", "pattern"),
    ],
)
async def test_limits_that_cannot_be_are_refused(
    daemon: Daemon, path: str, body: dict[str, Any], field: str, rule: str
) -> None:
    status, refused = await patched(daemon, path, body)

    assert status == 422
    (error,) = refused["errors"]
    assert error["field"] == field
    assert rule in error["rule"]


async def test_the_limit_over_all_queues_changes(daemon: Daemon) -> None:
    plain = await got(daemon, "/queues/limits")
    assert (plain["max_in_flight"], plain["tenant_rate"], plain["tenants"], plain["changed"]) == (400, None, {}, {})
    acme = {"rate": "60/min", "max_in_flight": 2}
    status, changed = await patched(daemon, "/queues", {"max_in_flight": 7, "tenants": {"acme": acme}})
    assert (status, changed["max_in_flight"]) == (200, 7)
    assert changed["tenants"] == {"acme": {"rate": 60.0, "burst": 1, "max_in_flight": 2}}
    assert changed["changed"] == {"max_in_flight": 7, "tenants": {"acme": acme}}

    assert await patched(daemon, "/queues", {"max_in_flight": None, "tenants": {"acme": None}}) == (200, plain)


async def test_a_tenants_limit_holds_its_jobs_and_lets_them_go_when_it_is_taken_back(daemon: Daemon) -> None:
    assert (await asked(daemon, "queues", "limits", "--tenant", "default", "rate=1/h"))["tenants"]["default"][
        "rate"
    ] < 1
    ids = await put(daemon, CHECK, *[{} for _ in range(4)])

    async def held() -> bool:
        queue = await got(daemon, CHECK)
        return bool(queue["tenants_held"]) and (queue["waiting"], queue["active"]) == (3, 0)

    await eventually(held, within=20)
    page = await got(daemon, f"{CHECK}/jobs?state=waiting")
    page["data"] += (
        (await got(daemon, f"{CHECK}/jobs?state=waiting&after={page['next']}"))["data"] if page["next"] else []
    )
    assert len({job["id"] for job in page["data"]} & set(ids)) == 3

    assert (await asked(daemon, "queues", "limits", "--tenant", "default"))["tenants"] == {}

    async def gone() -> bool:
        return bool((await got(daemon, CHECK))["waiting"] == 0)

    await eventually(gone, within=20)


async def test_a_paused_kind_and_a_paused_lane_wait_alone(daemon: Daemon) -> None:
    assert (await posted(daemon, f"{SLOW}/pause", {"kind": "mail"}))["kinds"] == {"billing:slow": ["mail"]}
    paused = await posted(daemon, f"{SLOW}/lanes/acme%2F7/pause", {})
    assert paused["lanes"] == {"billing:slow": ["acme/7"]}
    mail, other, lane = await put(daemon, SLOW, {"kind": "mail"}, {"kind": "call"}, {"lane": "acme/7"})
    await eventually(lambda: ended(daemon, other))
    assert [await state(daemon, job) for job in (mail, lane)] == ["waiting", "staged"]
    shown = await got(daemon, SLOW)
    assert (shown["paused"], shown["paused_kinds"]) == (False, ["mail"])
    (found,) = (await got(daemon, f"{SLOW}/lanes"))["data"]
    assert (found["name"], found["staged"], found["paused"]) == ("acme/7", 1, True)

    await posted(daemon, f"{SLOW}/resume", {"kind": "mail"})
    await posted(daemon, f"{SLOW}/lanes/acme%2F7/resume", {})

    await eventually(lambda: ended(daemon, mail))
    await eventually(lambda: ended(daemon, lane))


async def test_the_priority_of_a_waiting_job_changes(daemon: Daemon) -> None:
    await posted(daemon, f"{SLOW}/pause", {})
    (job,) = await put(daemon, SLOW, {"priority": 2})
    await eventually(lambda: known(daemon, job))

    status, changed = await patched(daemon, f"/jobs/{job}", {"priority": 9})
    assert (status, changed["priority"]) == (200, 9)
    assert (await patched(daemon, f"/jobs/{job}", {"priority": 11}))[0] == 422
    assert (await patched(daemon, "/jobs/job_none", {"priority": 1}))[0] == 404

    await posted(daemon, f"{SLOW}/resume", {})
    await eventually(lambda: ended(daemon, job))
    assert (await patched(daemon, f"/jobs/{job}", {"priority": 1}))[0] in (404, 409)


async def test_numbers_tell_how_the_queue_does(daemon: Daemon) -> None:
    await put(daemon, CHECK, *[{} for _ in range(50)])

    async def moved() -> bool:
        shown = await got(daemon, CHECK)
        return bool(shown["completed"] >= 50 and shown["rate_in"] > 0 and shown["rate_out"] > 0)

    await eventually(moved, within=30)
    shown = await got(daemon, CHECK)
    assert shown["failure_rate"] == 0
    assert 0 <= shown["utilisation"] <= 1
    assert shown["time_to_clear"] == 0
    assert shown["oldest_waiting_seconds"] is None
    assert (await got(daemon, f"{CHECK}/quarantine")) == {"data": [], "next": None}


async def test_the_command_line_does_the_same(daemon: Daemon) -> None:
    async def zapd(*words: str) -> dict[str, Any]:
        return dict(await asked(daemon, "queues", *words))

    assert (await zapd("set", "billing:slow", "max_concurrency=6", "backoff=3s"))["limits"]["backoff"] == 3
    assert (await zapd("show", "billing:slow"))["max_concurrency"] == 6
    assert (await zapd("set", "billing:slow", "max_concurrency=", "backoff="))["limits"]["changed"] == {}
    assert (await zapd("pause", "billing:slow", "--lane", "acme/7"))["lanes"] == {"billing:slow": ["acme/7"]}
    assert [lane["name"] for lane in (await zapd("lanes", "billing:slow"))["data"]] == ["acme/7"]
    assert (await zapd("resume", "billing:slow", "--lane", "acme/7"))["lanes"] == {}
    assert (await zapd("pause", "billing:slow", "--kind", "mail"))["kinds"] == {"billing:slow": ["mail"]}
    assert (await zapd("resume", "billing:slow", "--kind", "mail"))["kinds"] == {}
    assert (await zapd("quarantine", "billing:slow"))["data"] == []


async def state(daemon: Daemon, job: str) -> str:
    return str((await got(daemon, f"/jobs/{job}"))["state"])


async def known(daemon: Daemon, job: str) -> bool:
    return (await daemon.call("GET", f"/jobs/{job}"))[0] == 200


async def ended(daemon: Daemon, job: str) -> bool:
    status, answer = await daemon.call("GET", f"/jobs/{job}")
    return status == 404 or bool(answer["state"] == "completed")
