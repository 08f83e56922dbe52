"""Queues of the operator's own: what comes in, what is done with it, what becomes of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import standardwebhooks

from tests.integration.web.test_cli import asked, zapd
from tests.integration.web.test_tenants import tenant
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver, Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOML = """
[jobs]
payload_limit = "1KiB"
bulk_limit = "4MiB"
[queues."t:noop"]
action = "noop"
[queues."t:still"]
action = "noop"
kinds = ["red", "blue"]
[queues."t:unique"]
action = "noop"
unique_policy = "return-existing"
[queues."t:work"]
action = "listener"
listener = "tests.support.listeners:work"
attempts = 3
backoff = "20ms"
retry = {{ Stubborn = "never" }}
[queues."t:thread"]
action = "listener"
listener = "tests.support.listeners:blocking"
[queues."t:hook"]
action = "webhook"
url = "{url}"
secret = "{secret}"
attempts = 2
backoff = "20ms"
retry = {{ client_error = "never" }}
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    toml = TOML.format(url=receiver.url, secret=SECRET)
    async with Daemon(tmp_path_factory.mktemp("state"), toml) as running:
        yield running


async def put(daemon: Daemon, queue: str, *jobs: Any) -> list[Any]:
    status, answer = await daemon.call("POST", f"/queues/{queue}/jobs", {"jobs": list(jobs)})
    assert status == 202, answer
    found: list[Any] = answer["data"]
    return found


async def job(daemon: Daemon, job_id: str) -> Any:
    return (await daemon.call("GET", f"/jobs/{job_id}"))[1]


async def gone(daemon: Daemon, job_id: str) -> bool:
    status, answer = await daemon.call("GET", f"/jobs/{job_id}")
    return status == 404 or bool(answer["state"] == "completed")


async def dead(daemon: Daemon, job_id: str) -> Any:
    async def found() -> Any:
        status, letter = await daemon.call("GET", f"/dead-letters/{job_id}")
        return letter if status == 200 else None

    return await eventually(found, within=20)


@pytest_asyncio.fixture(loop_scope="module")
async def still(daemon: Daemon) -> AsyncIterator[str]:
    """A queue that is paused."""
    for queue in ("t:still", "t:unique"):
        await daemon.call("POST", f"/queues/{queue}/pause")
    yield "t:still"
    for queue in ("t:still", "t:unique"):
        await daemon.call("POST", f"/queues/{queue}/resume")


# --- in ---


async def test_a_wrong_item_is_refused_and_the_others_are_taken(daemon: Daemon, still: str) -> None:
    deep, long = "[" * 2_000 + "]" * 2_000, "x" * 2_000
    wrong = {
        "payload": ['{"kind": "red"}', f'{{"kind": "red", "payload": "{long}"}}', f'{{"payload": {deep}}}'],
        "run_at": ['{"payload": 1, "run_at": "tomorrow"}', '{"payload": 1, "run_at": "2026-01-01T00:00:00"}'],
        "priority": ['{"payload": 1, "priority": 11}', '{"payload": 1, "priority": true}'],
        "kind": ['{"payload": 1, "kind": "green"}', '{"payload": 1}'],
        "paylod": ['{"paylod": 1, "payload": 1}'],
        "body": ['{"payload": NaN}', "{'payload': 1}"],
        "unique_policy": ['{"payload": 1, "kind": "red", "unique_policy": "often"}'],
        "id": ['{"payload": 1, "kind": "red", "id": "x", "unique_policy": "replace"}'],
    }
    good = '{"payload": {"n": [1, "]}"]}, "kind": "red"}'
    texts = [text for some in wrong.values() for text in (*some, good)]
    raw = ('{"jobs": [' + ",".join(texts) + "]}").encode()
    status, answer = await daemon.call("POST", f"/queues/{still}/jobs", raw)
    assert status == 202, answer
    results = iter(answer["data"])
    for field, some in wrong.items():
        for _ in some:
            result = next(results)
            assert (result["status"], [error["field"] for error in result["errors"]]) == ("invalid", [field])
        assert next(results)["status"] == "queued"
    for result in answer["data"]:
        if result["status"] == "queued":
            assert (await daemon.call("DELETE", f"/jobs/{result['id']}"))[0] == 204


async def test_what_the_whole_request_must_be(daemon: Daemon) -> None:
    status, problem = await daemon.call("POST", "/queues/nope/jobs", {"jobs": [{"payload": 1}]})
    assert (status, "t:noop" in problem["detail"]) == (404, True)
    assert (await daemon.call("POST", "/queues/message:send/jobs", {"jobs": [{"payload": 1}]}))[0] == 422
    assert (await daemon.call("POST", "/queues/t:noop/jobs", {"jobs": []}))[0] == 422
    assert (await daemon.call("POST", "/queues/t:noop/jobs", b"{"))[0] == 400
    assert (await daemon.call("POST", "/queues/t:noop/jobs", {"jobs": ["x" * (5 << 20)]}))[0] == 413


async def test_ten_thousand_jobs_come_in_one_call_and_run(daemon: Daemon) -> None:
    many = [{"payload": {"n": n, "text": "x" * 100}} for n in range(10_000)]
    assert {item["status"] for item in await put(daemon, "t:noop", *many)} == {"queued"}

    async def completed() -> bool:
        return bool((await daemon.call("GET", "/queues/t:noop"))[1]["completed"] >= 10_000)

    await eventually(completed, within=60)


async def test_doubles_by_policy(daemon: Daemon, still: str) -> None:
    def one(n: int, **more: Any) -> dict[str, Any]:
        return {"payload": n, "kind": "red", "unique_key": "k", **more}

    (first,) = await put(daemon, still, one(1))
    same, rejected = await put(daemon, still, one(2), one(3, unique_policy="reject"))
    assert (same["status"], same["id"]) == ("exists", first["id"])
    assert (rejected["status"], rejected["id"], rejected["errors"][0]["field"]) == (
        "rejected",
        first["id"],
        "unique_key",
    )
    second, third = await put(daemon, still, one(4, unique_policy="replace"), one(5, unique_policy="replace"))
    assert (second["status"], second["replaced"]) == ("replaced", first["id"])
    assert (third["status"], third["replaced"]) == ("replaced", second["id"])
    assert await gone(daemon, first["id"])
    assert (await job(daemon, third["id"]))["payload"] == 5
    (other,) = await put(daemon, still, {"payload": 1, "kind": "red", "unique_key": "other"})
    assert other["status"] == "queued"
    for item in (third, other):
        assert (await daemon.call("DELETE", f"/jobs/{item['id']}"))[0] == 204
    (again,) = await put(daemon, still, one(6))  # a key never outlives its job
    assert again["status"] == "queued"
    await daemon.call("DELETE", f"/jobs/{again['id']}")


async def test_a_window_ends_though_the_job_lives(daemon: Daemon, still: str) -> None:
    brief = {"payload": 1, "kind": "red", "unique_key": "w", "unique_for": "50ms"}
    (first,) = await put(daemon, still, brief)

    async def free() -> Any:
        (item,) = await put(daemon, still, brief)
        return item if item["status"] == "queued" else None

    second = await eventually(free)
    assert second["id"] != first["id"]
    for item in (first, second):
        assert (await daemon.call("DELETE", f"/jobs/{item['id']}"))[0] == 204


async def test_a_queue_may_take_equal_jobs_for_doubles(daemon: Daemon, still: str) -> None:
    results = await put(daemon, "t:unique", {"payload": {"a": 1}}, {"payload": {"a": 1}}, {"payload": {"a": 2}})
    assert [item["status"] for item in results] == ["queued", "exists", "queued"]
    assert results[0]["id"] == results[1]["id"]


async def test_the_last_one_runs_after_the_one_that_runs(daemon: Daemon) -> None:
    def one(n: float) -> dict[str, Any]:
        return {"payload": {"hang": n}, "unique_key": "last", "unique_policy": "keep-last"}

    (first,) = await put(daemon, "t:work", one(1.0))

    async def runs() -> bool:
        return bool((await job(daemon, first["id"]))["state"] == "active")

    await eventually(runs)
    second, third = await put(daemon, "t:work", one(0), one(0))
    assert [second["status"], third["status"], third.get("replaced")] == ["queued", "replaced", second["id"]]
    assert (await job(daemon, first["id"]))["state"] == "active"
    assert (await job(daemon, third["id"]))["state"] == "staged"
    await eventually(lambda: gone(daemon, third["id"]), within=20)
    assert await gone(daemon, first["id"])


# --- what a job does and tells ---


async def test_a_job_tells_how_far_it_is_and_can_be_canceled_while_it_runs(daemon: Daemon) -> None:
    (item,) = await put(daemon, "t:work", {"payload": {"hang": 600}, "kind": "slow"})

    async def told() -> Any:
        seen = await job(daemon, item["id"])
        return seen if seen.get("progress") == 25 else None

    seen = await eventually(told, within=20)
    assert (seen["state"], seen["attempt"], seen["kind"], seen["crashes"]) == ("active", 1, "slow", 0)
    assert seen["started_at"] >= seen["created_at"][:10]
    assert [line["line"] for line in seen["logs"]] == [f"try 1 of {item['id']}"]
    assert (await daemon.call("DELETE", f"/jobs/{item['id']}"))[0] == 204
    await eventually(lambda: gone(daemon, item["id"]))
    assert (await daemon.call("GET", "/dead-letters?kind=slow"))[1]["data"] == []

    async def free() -> bool:
        return bool((await daemon.call("GET", "/queues/t:work"))[1]["active"] == 0)

    await eventually(free)


async def test_a_failed_try_is_repeated_and_its_error_shown(daemon: Daemon) -> None:
    (item,) = await put(daemon, "t:work", {"payload": {"retry": "not yet"}})
    letter = await dead(daemon, item["id"])
    assert (letter["reason"], letter["error"], letter["attempts"]) == ("attempts", "not yet", 3)

    async def told() -> bool:
        return len((await job(daemon, item["id"]))["logs"]) == 5

    await eventually(told)
    lines = [line["line"] for line in (await job(daemon, item["id"]))["logs"]]
    assert "try 1 failed: not yet" in lines


async def test_a_class_of_errors_may_never_be_tried_again(daemon: Daemon) -> None:
    (item,) = await put(daemon, "t:work", {"payload": {"raise": "hopeless"}})
    letter = await dead(daemon, item["id"])
    assert (letter["attempt"], letter["error"]) == (1, "Stubborn('hopeless')")


async def test_a_job_is_posted_with_a_signature(daemon: Daemon, receiver: Receiver) -> None:
    receiver.script.extend([Reply(500), Reply(200, b'{"ok": true}')])
    (item,) = await put(daemon, "t:hook", {"payload": {"n": 1}, "kind": "invoice.due"})
    await eventually(lambda: len([r for r in receiver.received if r.headers["webhook-id"] == item["id"]]) == 2)
    first, second = (r for r in receiver.received if r.headers["webhook-id"] == item["id"])
    for received in (first, second):
        standardwebhooks.Webhook(SECRET).verify(received.body, dict(received.headers))
    body = second.json
    assert (body["id"], body["type"], body["data"]) == (item["id"], "invoice.due", {"n": 1})
    assert (body["job"], first.json["job"]["attempt"]) == ({"queue": "t:hook", "attempt": 2}, 1)
    await eventually(lambda: gone(daemon, item["id"]))


async def test_a_receiver_that_refuses_makes_a_dead_letter_at_once(daemon: Daemon, receiver: Receiver) -> None:
    receiver.script.extend([Reply(422), Reply(410)])
    (item,) = await put(daemon, "t:hook", {"payload": 1})
    assert (await dead(daemon, item["id"]))["error"] == "answered 422"
    (item,) = await put(daemon, "t:hook", {"payload": 1})
    assert (await dead(daemon, item["id"]))["reason"] == "gone"


# --- dead letters ---


async def test_dead_letters_are_found_edited_and_run_again(daemon: Daemon) -> None:
    items = await put(
        daemon, "t:work", *[{"payload": {"discard": f"no {n}"}, "kind": "case", "lane": "l"} for n in range(3)]
    )
    ids = [item["id"] for item in items]
    for job_id in ids:
        await dead(daemon, job_id)
    found = (await daemon.call("GET", "/dead-letters?kind=case&queue=t:work&reason=refused"))[1]["data"]
    assert [letter["id"] for letter in found] == ids[::-1]  # the newest first
    (second,) = (await daemon.call("GET", "/dead-letters?text=NO+1&kind=case"))[1]["data"]
    assert (second["id"], second["payload"], second["bytes"]) == (ids[1], {"discard": "no 1"}, 18)
    assert (await daemon.call("GET", "/dead-letters?kind=case&until=2020-01-01T00:00:00Z"))[1]["data"] == []
    assert len((await daemon.call("GET", "/dead-letters?kind=case&since=2020-01-01T00:00:00Z"))[1]["data"]) == 3
    one, two = await daemon.pages("/dead-letters?kind=case&reason=refused"), found
    assert one == two

    status, edited = await daemon.call("PATCH", f"/dead-letters/{ids[0]}", {"payload": {"add": 1}})
    assert (status, edited["payload"]) == (200, {"add": 1})
    assert (await daemon.call("POST", f"/dead-letters/{ids[0]}/retry"))[0] == 202
    await eventually(lambda: gone(daemon, ids[0]))
    assert (await daemon.call("POST", f"/dead-letters/{ids[1]}/retry", {"payload": {"add": 2}}))[0] == 202
    await eventually(lambda: gone(daemon, ids[1]))

    _, lines = await daemon.call("GET", "/dead-letters/export?kind=case", raw=True)
    assert [json.loads(line)["id"] for line in lines.splitlines()] == [ids[2]]
    assert (await daemon.call("DELETE", "/dead-letters?kind=case"))[1] == {"deleted": 1, "left": 0}
    assert await gone(daemon, ids[2])


async def test_many_that_are_retried_together_are_spread(daemon: Daemon) -> None:
    items = await put(daemon, "t:work", *[{"payload": {"discard": "x"}, "kind": "herd"} for _ in range(5)])
    for item in items:
        await dead(daemon, item["id"])
    await daemon.call("POST", "/queues/t:work/pause")
    _, answer = await daemon.call("POST", "/dead-letters/retry", {"kind": "herd", "rate": 0.1})
    assert (answer["retried"], answer["passed"]) == (5, 0)
    due = sorted([(await job(daemon, item["id"]))["run_at"] or "" for item in items])
    assert due[0] == ""
    assert due[-1] == answer["last_at"] or due[-1][:19] == answer["last_at"][:19]
    assert len(set(due)) == 5
    for item in items:
        await daemon.call("DELETE", f"/jobs/{item['id']}")
    await daemon.call("POST", "/queues/t:work/resume")


async def test_dead_letters_outlive_redis(tmp_path: Path) -> None:
    toml = '[queues."t:work"]\naction = "listener"\nlistener = "tests.support.listeners:work"\n'
    async with Daemon(tmp_path, toml) as one:
        (item,) = await put(one, "t:work", {"payload": {"discard": "x"}})
        await dead(one, item["id"])
        await one.kill()
        for file in (tmp_path / "redis").rglob("*"):
            if file.is_file():
                file.unlink()
        await one.start()
        assert (await one.call("GET", f"/jobs/{item['id']}"))[1]["state"] == "dead"
        assert (await one.call("GET", "/queues/t:work"))[1]["dead"] == 1
        assert (await one.call("GET", "/api/queue/stats"))[1]["data"]["queues"]["t:work"]["failed"] == 1


# --- batches and chains ---


async def ended(daemon: Daemon, batch_id: str) -> Any:
    async def found() -> Any:
        batch = (await daemon.call("GET", f"/batches/{batch_id}"))[1]
        return batch if batch["state"] == "ended" else None

    return await eventually(found, within=20)


async def test_a_batch_counts_and_calls_back(daemon: Daemon, receiver: Receiver) -> None:
    _, endpoint = await daemon.call("POST", "/endpoints", {"url": receiver.url + "/batch", "types": ["batch.*"]})
    jobs: list[Any] = [{"queue": "t:work", "payload": {"add": n}} for n in range(20)]
    jobs += [{"queue": "t:noop", "payload": n} for n in range(20)]
    jobs += [{"queue": "t:work", "payload": {"discard": "no"}}]
    callback = {"queue": "t:hook", "kind": "batch.over", "payload": {"mine": 1}}
    status, made = await daemon.call("POST", "/batches", {"jobs": jobs, "callback": callback})
    assert (status, made["total"], len(made["jobs"])) == (202, 41, 41)
    batch = await ended(daemon, made["id"])
    assert (batch["succeeded"], batch["failed"], batch["pending"]) == (40, 1, 0)
    (body,) = await eventually(lambda: receiver.events("batch.over"))
    assert body["data"] == {
        "batch_id": made["id"],
        "kind": "batch",
        "total": 41,
        "succeeded": 40,
        "failed": 1,
        "data": {"mine": 1},
    }
    (event,) = await eventually(lambda: receiver.events("batch.completed"))
    assert (event["data"]["batch_id"], event["data"]["callback_job"]) == (made["id"], batch["callback_job"])
    members = await daemon.pages(f"/batches/{made['id']}/jobs")
    assert [member["job_id"] for member in members] == made["jobs"]
    assert [member["result"] for member in members[:3]] == [0, 1, 2]
    assert (members[-1]["state"], members[-1]["error"]) == ("failed", "no")
    await daemon.call("DELETE", f"/endpoints/{endpoint['id']}")


async def test_the_jobs_of_a_batch_may_have_ids_of_their_own(daemon: Daemon, still: str) -> None:
    """None is added when one is there already: it would count for two."""
    jobs: list[Any] = [{"queue": still, "kind": "red", "payload": n, "id": f"mine-{n}"} for n in range(2)]
    status, made = await daemon.call("POST", "/batches", {"jobs": jobs})
    assert (status, made["jobs"]) == (202, ["mine-0", "mine-1"])
    assert (await daemon.call("GET", "/jobs/mine-1"))[1]["batch_id"] == made["id"]

    jobs[0]["id"] = "mine-new"
    status, problem = await daemon.call("POST", "/batches", {"jobs": jobs, "id": "second"})
    assert (status, problem["detail"]) == (409, "jobs.1.id: job mine-1 is there already, and none was added")
    assert (await daemon.call("GET", "/jobs/mine-new"))[0] == 404
    assert (await daemon.call("GET", "/batches/second"))[0] == 404

    for number in range(2):
        assert (await daemon.call("DELETE", f"/jobs/mine-{number}"))[0] == 204
    assert [member["job_id"] for member in await daemon.pages(f"/batches/{made['id']}/jobs")] == made["jobs"]
    assert (await ended(daemon, made["id"]))["failed"] == 2
    assert (await daemon.call("POST", "/batches", {"jobs": jobs}))[0] == 202  # the ids are free again
    for job_id in ("mine-new", "mine-1"):
        await daemon.call("DELETE", f"/jobs/{job_id}")


async def test_a_chain_passes_results_on(daemon: Daemon) -> None:
    steps = [{"queue": "t:work", "payload": {"add": n}} for n in (1, 10, 100)]
    _, made = await daemon.call("POST", "/batches", {"chain": steps, "id": "sum"})
    assert made["id"] == "sum"
    batch = await ended(daemon, "sum")
    assert (batch["kind"], batch["succeeded"]) == ("chain", 3)
    assert [member["result"] for member in await daemon.pages("/batches/sum/jobs")] == [1, 11, 111]
    assert (await daemon.call("POST", "/batches", {"chain": steps, "id": "sum"}))[0] == 409


async def test_a_failed_step_ends_its_chain(daemon: Daemon) -> None:
    steps = [{"queue": "t:work", "payload": payload} for payload in ({"add": 1}, {"discard": "no"}, {"add": 2})]
    _, made = await daemon.call("POST", "/batches", {"chain": steps})
    batch = await ended(daemon, made["id"])
    assert (batch["succeeded"], batch["failed"]) == (1, 2)
    states = [member["state"] for member in await daemon.pages(f"/batches/{made['id']}/jobs")]
    assert states == ["succeeded", "failed", "skipped"]


async def test_a_canceled_job_of_a_batch_counts_as_failed(daemon: Daemon, still: str) -> None:
    _, made = await daemon.call("POST", "/batches", {"jobs": [{"queue": still, "kind": "red", "payload": 1}]})
    assert (await daemon.call("GET", f"/jobs/{made['jobs'][0]}"))[1]["batch_id"] == made["id"]
    assert (await daemon.call("DELETE", f"/jobs/{made['jobs'][0]}"))[0] == 204
    assert (await ended(daemon, made["id"]))["failed"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"jobs": [], "chain": []}, "jobs"),
        ({"jobs": [{"queue": "nope", "payload": 1}]}, "jobs.0.queue"),
        ({"jobs": [{"queue": "message:send", "payload": 1}]}, "jobs.0.queue"),
        ({"jobs": [{"queue": "t:still", "payload": 1, "kind": "green"}]}, "jobs.0.kind"),
        ({"jobs": [{"queue": "t:noop", "payload": 1, "id": "a"}] * 2}, "jobs.1.id"),
        ({"jobs": [{"queue": "t:noop", "payload": 1, "id": "a b"}]}, "jobs.0.id"),
        ({"chain": [{"queue": "t:noop", "payload": 1, "id": "a"}]}, "chain.0.id"),
        ({"jobs": [{"queue": "t:noop", "payload": 1}], "callback": {}}, "callback"),
        ({"jobs": [{"queue": "t:noop", "payload": 1}], "callback": {"queue": "nope"}}, "callback.queue"),
        ({"jobs": [{"queue": "t:noop", "payload": 1}], "callback": {"endpoint_id": "x"}}, "callback.endpoint_id"),
    ],
)
async def test_a_wrong_batch_is_refused_whole(daemon: Daemon, body: Any, field: str) -> None:
    status, problem = await daemon.call("POST", "/batches", body)
    assert (status, problem["errors"][0]["field"]) == (422, field)


# --- the command line ---


async def test_jobs_and_dead_letters_from_the_command_line(daemon: Daemon, tmp_path: Path) -> None:
    added = await asked(daemon, "jobs", "add", "t:work", "--payload", '{"discard": "cli"}', "--kind", "cli")
    job_id = added["data"][0]["id"]
    await dead(daemon, job_id)
    assert (await asked(daemon, "jobs", "show", job_id))["state"] == "dead"
    assert [row["id"] for row in (await asked(daemon, "dead", "list", "--kind", "cli"))["data"]] == [job_id]
    file = tmp_path / "dead.jsonl"
    code, _, err = await zapd(daemon, "dead", "export", "--kind", "cli", "-o", str(file))
    assert (code, json.loads(file.read_text())["id"]) == (0, job_id), err
    assert (await asked(daemon, "dead", "retry", job_id, "--payload", '{"discard": "again"}'))["retried"] == 1

    async def died_again() -> bool:
        return bool((await job(daemon, job_id))["error"] == "again")

    await eventually(died_again)
    assert (await asked(daemon, "dead", "retry", "--kind", "cli"))["retried"] == 1
    await dead(daemon, job_id)
    assert (await asked(daemon, "dead", "purge", "--kind", "cli"))["deleted"] == 1
    code, _, err = await zapd(daemon, "jobs", "add", "t:still", "--payload", "1", "--kind", "green")
    assert (code, "red, blue" in err) == (1, True)
    assert isinstance(await asked(daemon, "batches"), dict)
    assert (await zapd(daemon, "dead", "purge"))[0] == 64


async def test_a_thread_may_tell_and_give_results(daemon: Daemon) -> None:
    _, made = await daemon.call("POST", "/batches", {"jobs": [{"queue": "t:thread", "payload": "p"}]})
    await ended(daemon, made["id"])
    (member,) = await daemon.pages(f"/batches/{made['id']}/jobs")
    assert member["result"] == {"seen": "p"}


async def test_a_listener_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    lonely = Daemon(tmp_path, '[queues."q"]\naction = "listener"\nlistener = "tests.support.nowhere:work"\n')
    with pytest.raises(AssertionError, match=r'ended with 78(.|\n)*queues."q".listener = \\*"tests.support.nowhere'):
        async with lonely:
            pass
    await asyncio.sleep(0)


# --- what may happen at any moment ---


async def test_while_redis_is_away_jobs_come_in_are_shown_and_canceled(tmp_path: Path) -> None:
    environ = {"ZAPD_REDIS__URL": f"unix://{tmp_path}/nobody.sock"}
    async with Daemon(tmp_path, '[queues."q"]\naction = "noop"\n', environ=environ) as lonely:
        first, second = await put(lonely, "q", {"payload": 1, "unique_key": "k"}, {"payload": 2})
        (third,) = await put(lonely, "q", {"payload": 3, "unique_key": "k", "unique_policy": "replace"})
        assert (third["status"], third["replaced"]) == ("replaced", first["id"])
        assert (await job(lonely, second["id"]))["state"] == "waiting"
        for item in (second, third):
            assert (await lonely.call("DELETE", f"/jobs/{item['id']}"))[0] == 204
            assert (await lonely.call("DELETE", f"/jobs/{item['id']}"))[0] in (404, 503)


async def test_a_kill_between_the_last_count_and_the_callback_loses_no_callback(tmp_path: Path) -> None:
    toml = '[queues."q"]\naction = "noop"\n[queues."over"]\naction = "noop"\n'
    one = Daemon(tmp_path, toml, environ={"ZAPD_FAILPOINT": "batch.counted:5"})
    async with one:
        await one.call("POST", "/queues/over/pause")
        body = {"jobs": [{"queue": "q", "payload": n} for n in range(5)], "callback": {"queue": "over"}, "id": "b"}
        assert (await one.call("POST", "/batches", body))[0] == 202
        assert await one.wait() == -9
        one.environ.pop("ZAPD_FAILPOINT")
        await one.start()
        assert (await ended(one, "b"))["succeeded"] == 5

        async def called() -> Any:
            return (await one.call("GET", "/queues/over/jobs"))[1]["data"]

        (callback,) = await eventually(called, within=20)
        assert callback["payload"] == {
            "batch_id": "b",
            "kind": "batch",
            "total": 5,
            "succeeded": 5,
            "failed": 0,
            "data": None,
        }


async def test_tenants_may_use_the_same_ids_keys_and_lanes(daemon: Daemon) -> None:
    _, one = await tenant(daemon, "Jobs One")
    _, two = await tenant(daemon, "Jobs Two")

    async def add(headers: dict[str, str], **job: Any) -> Any:
        answer = await daemon.call("POST", "/queues/t:work/jobs", {"jobs": [job]}, headers=headers)
        return answer[1]["data"][0]

    async def of(headers: dict[str, str]) -> Any:
        return (await daemon.call("GET", "/jobs/same", headers=headers))[1]

    async def state(headers: dict[str, str], wanted: str) -> bool:
        return bool((await of(headers)).get("state") == wanted)

    async def told(line: str) -> bool:
        return line in [kept["line"] for kept in (await of(two))["logs"]]

    assert (await add(one, id="same", lane="line", payload={"hang": 60}))["status"] == "queued"
    await eventually(lambda: state(one, "active"))
    assert await add(two, id="same", lane="line", payload={"raise": "two"}) == {"id": "same", "status": "queued"}
    await eventually(lambda: state(two, "dead"))  # neither the id nor the lane is taken

    mine, theirs = await of(one), await of(two)
    assert (mine["id"], mine["lane"], mine["payload"]) == ("same", "line", {"hang": 60})
    assert (theirs["id"], theirs["lane"], theirs["payload"]) == ("same", "line", {"raise": "two"})
    await eventually(lambda: told("try 1 of same"))
    assert (await add(one, id="same", payload={}))["status"] == "exists"
    listed = (await daemon.call("GET", "/queues/t:work/jobs?state=active", headers=one))[1]["data"]
    assert [(job["id"], job["lane"]) for job in listed] == [("same", "line")]

    dead = {"ids": ["same"]}
    assert (await daemon.call("GET", "/dead-letters/same", headers=one))[0] == 404
    assert (await daemon.call("POST", "/dead-letters/retry", dead, headers=one))[1]["retried"] == 0
    assert (await daemon.call("POST", "/dead-letters/retry", dead, headers=two))[1]["retried"] == 1
    await eventually(lambda: state(two, "dead"))
    assert (await daemon.call("DELETE", "/dead-letters/same", headers=two))[0] == 204
    assert (await daemon.call("DELETE", "/jobs/same", headers=two))[0] == 404
    assert await state(one, "active")
    assert (await daemon.call("DELETE", "/jobs/same", headers=one))[0] == 204
