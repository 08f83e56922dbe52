"""The promises of DESIGN §1, each on the real daemon. `make chaos` repeats the first ones at every step of the path."""

import asyncio
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis

from tests.chaos import faults
from tests.chaos.run import Fault, one_run
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.fake_meta import CONFIG, sign, text_message, webhook_body
from tests.support.load import Load, arrived, excess
from tests.support.receiver import Receiver, Reply
from tests.support.redis_server import RedisServer, embedded_binary

PACED = '[sandbox]\npair_after = "0.05s"\nlatency = "5ms"\n'
FAST = PACED + "[limits]\nsession_per_minute = 60000\nsession_burst = 1000\n"
LEFT = ("sent", "delivered", "read")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "state", FAST) as running:
        yield running


async def reaches(daemon: Daemon, message: str, *states: str, within: float = 15.0) -> None:
    """Wait until the message has one of these states."""

    async def there() -> bool:
        return await daemon.status_of(message) in states

    await eventually(there, within=within)


async def all_arrive(daemon: Daemon, connection: str, count: int, within: float = 20.0) -> list[str]:
    """Wait for so many lines in the ledger; their texts in order."""

    async def there() -> list[str]:
        texts = await arrived(daemon, connection)
        return texts if len(texts) >= count else []

    return await eventually(there, within=within)


async def trouble(daemon: Daemon, connection: str, *faults_: dict[str, Any]) -> None:
    """Script the simulated network."""
    status, answer = await daemon.call("POST", f"/sandbox/{connection}/faults", {"faults": list(faults_)})
    assert status == 202, answer


async def types_of(daemon: Daemon, message: str) -> Counter[str]:
    """How often each event of the message happened."""
    events = await daemon.pages("/events")
    return Counter(event["type"] for event in events if event["message_id"] == message)


async def killed_at(daemon: Daemon, failpoint: str) -> None:
    """Wait for the kill -9 at the failpoint that it was started with, and start it again."""
    assert daemon.process
    async with asyncio.timeout(20):
        await daemon.process.wait()
    daemon.environ["ZAPD_FAILPOINT"] = failpoint
    await daemon.start()


async def posted(receiver: Receiver, count: int) -> None:
    """Wait for so many POSTs."""
    await eventually(lambda: len(receiver.received) >= count, within=20)


def redis_of(daemon: Daemon) -> redis.Redis:
    """A client of the embedded server."""
    return redis.Redis(unix_socket_path=str(next(daemon.state.rglob("redis.sock"))))


# --- 1: accepted means kept ---


@pytest.mark.parametrize("fault", [faults.kill_everything, faults.kill_redis, faults.flushall])
async def test_promise_1_what_was_accepted_outlives(fault: Fault) -> None:
    verdict, _ = await one_run(fault, messages=80)
    assert verdict.ok, verdict


async def test_promise_1_no_202_is_given_before_the_commit(daemon: Daemon) -> None:
    connection = (await daemon.connect())["id"]
    with sqlite3.connect(daemon.state / "zapd.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can commit now
        sent = asyncio.create_task(daemon.send(connection, "m0"))
        for _ in range(50):  # the daemon answers other things meanwhile
            assert (await daemon.call("GET", "/health"))[0] == 200
        assert not sent.done()
        other.execute("ROLLBACK")
        await sent
    other.close()


async def test_promise_1_a_full_redis_loses_nothing(daemon: Daemon) -> None:
    connection = (await daemon.connect())["id"]
    with redis_of(daemon) as client:
        client.config_set("maxmemory", 1)
        for n in range(20):
            await daemon.send(connection, f"m{n}")
        assert await arrived(daemon, connection) == []
        client.config_set("maxmemory", 0)
    assert await all_arrive(daemon, connection, 20) == [f"m{n}" for n in range(20)]


# --- 2: intake survives Redis ---


@pytest.mark.parametrize("fault", [faults.redis_is_down_over_the_intake, faults.redis_hangs_over_the_intake])
async def test_promise_2_sends_are_accepted_without(fault: Fault) -> None:
    external = () if fault is faults.redis_is_down_over_the_intake else None
    verdict, _ = await one_run(fault, messages=60, external=external)
    assert verdict.ok, verdict
    assert (verdict.refused, verdict.doubled) == (0, 0)


async def test_promise_2_a_daemon_that_starts_without_redis_accepts_and_sends_in_order_later(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", embedded_binary()).start()
    try:
        async with Daemon(tmp_path / "state", FAST, environ={"ZAPD_REDIS__URL": server.url}) as daemon:
            connection = (await daemon.connect())["id"]
            assert await daemon.stop() == 0
            server.kill()
            await daemon.start()
            for n in range(20):
                await daemon.send(connection, f"m{n}")
            server.start()
            assert await all_arrive(daemon, connection, 20) == [f"m{n}" for n in range(20)]
    finally:
        server.kill()


# --- 3: at least once, never silently twice ---


async def test_promise_3_a_lost_answer_is_held_and_its_lane_goes_on(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST.replace("5ms", "700ms")) as daemon:
        connection = (await daemon.connect(config={"on_ambiguous": "hold"}))["id"]
        await trouble(daemon, connection, {"kind": "answer_lost"})
        doubtful = await daemon.send(connection, "m0")
        after = await daemon.send(connection, "m1")
        await reaches(daemon, after["id"], *LEFT)
        await reaches(daemon, doubtful["id"], "read")  # the late receipt decides
        happened = await types_of(daemon, doubtful["id"])
        assert (happened["message.held"], happened["message.resending"]) == (1, 0)
        assert await arrived(daemon, connection) == ["m0", "m1"]


async def test_promise_3_verify_waits_for_the_receipt_that_proves_it_left(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST.replace("5ms", "700ms")) as daemon:
        connection = (await daemon.connect(config={"on_ambiguous": "verify"}))["id"]
        await trouble(daemon, connection, {"kind": "answer_lost"})
        doubtful = await daemon.send(connection, "m0")
        await reaches(daemon, doubtful["id"], "read")
        assert (await types_of(daemon, doubtful["id"]))["message.resending"] == 0
        assert await arrived(daemon, connection) == ["m0"]


@pytest.mark.parametrize("policy", ["resend", "hold", "verify"])
async def test_promise_3_a_crash_during_a_send_follows_the_policy(tmp_path: Path, policy: str) -> None:
    async with Daemon(tmp_path / "state", FAST, environ={"ZAPD_FAILPOINT": "send.claimed"}) as daemon:
        connection = (await daemon.connect(config={"on_ambiguous": policy}))["id"]
        doubtful = await daemon.send(connection, "m0")
        await killed_at(daemon, "")
        after = await daemon.send(connection, "m1")
        await reaches(daemon, after["id"], *LEFT)  # whatever the policy, the lane is free
        happened = await types_of(daemon, doubtful["id"])
        if policy == "resend":
            await reaches(daemon, doubtful["id"], "read")
            assert (await types_of(daemon, doubtful["id"]))["message.resending"] == 1
            assert await arrived(daemon, connection) == ["m0", "m1"]
            return
        assert await arrived(daemon, connection) == ["m1"]
        assert happened["message.resending"] == 0
        assert await daemon.status_of(doubtful["id"]) == ("held" if policy == "hold" else "sending")


async def test_promise_3_a_flush_during_a_send_does_not_send_twice(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST.replace("5ms", "2s")) as daemon:
        connection = (await daemon.connect())["id"]
        slow = await daemon.send(connection, "m0")
        await reaches(daemon, slow["id"], "sending")
        faults.flush(daemon)
        await daemon.send(connection, "m1")
        assert await all_arrive(daemon, connection, 2) == ["m0", "m1"]
        assert (await types_of(daemon, slow["id"]))["message.resending"] == 0


# --- 4: order and pace per session ---


async def test_promise_4_a_backlog_keeps_its_pace_and_order_and_delays_nobody(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", PACED) as daemon:
        busy, quiet = (await daemon.connect())["id"], (await daemon.connect())["id"]
        await Load(daemon, busy, 100).run()
        await daemon.send(quiet, "alone")
        await all_arrive(daemon, quiet, 1)
        before = len(await arrived(daemon, busy))
        assert before < 100  # the single one did not wait for the backlog
        texts = await all_arrive(daemon, busy, max(before, 10) + 4)
        assert texts == [f"m{n}" for n in range(len(texts))]
        assert excess(await daemon.ledger(busy), per_minute=80, burst=10) <= 0


async def test_promise_4_the_pace_holds_when_redis_forgets_it(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", PACED) as daemon:
        connection = (await daemon.connect())["id"]
        await Load(daemon, connection, 30).run()
        await all_arrive(daemon, connection, 10)
        faults.flush(daemon)
        texts = await all_arrive(daemon, connection, 13)
        assert texts == [f"m{n}" for n in range(len(texts))]
        assert excess(await daemon.ledger(connection), per_minute=80, burst=10) <= 0


# --- 5: attempts count failures only ---


async def test_promise_5_waiting_for_the_provider_burns_no_attempt(daemon: Daemon) -> None:
    connection = (await daemon.connect())["id"]
    await trouble(daemon, connection, {"kind": "rate_limited", "times": 8, "retry_after": 0.05})  # more than attempts
    message = await daemon.send(connection, "m0")
    await reaches(daemon, message["id"], "read")
    happened = await types_of(daemon, message["id"])
    assert (happened["message.requeued"], happened["message.failed"], happened["message.retrying"]) == (8, 0, 0)


async def test_promise_5_failures_burn_attempts_and_the_last_one_is_the_end(tmp_path: Path) -> None:
    toml = FAST + '[queues."message:send"]\nattempts = 3\nbackoff = "10ms"\n'
    async with Daemon(tmp_path / "state", toml) as daemon:
        connection = (await daemon.connect())["id"]
        await trouble(daemon, connection, {"kind": "transient", "times": 100})
        message = await daemon.send(connection, "m0")
        await reaches(daemon, message["id"], "dlq")
        assert (await types_of(daemon, message["id"]))["message.sending"] == 3
        _, job = await daemon.call("GET", f"/jobs/{message['job_id']}")
        assert (job["state"], job["reason"], job["attempt"]) == ("dead", "attempts", 3)


async def test_promise_5_crashes_have_their_own_counter_and_the_third_is_poison(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST, environ={"ZAPD_FAILPOINT": "send.claimed"}) as daemon:
        connection = (await daemon.connect(config={"on_ambiguous": "resend"}))["id"]
        message = await daemon.send(connection, "m0")
        for failpoint in ("send.claimed", "send.claimed", ""):
            await killed_at(daemon, failpoint)
        await reaches(daemon, message["id"], "dlq")

        async def ended() -> bool:  # Redis hears of a death after SQL
            return bool((await daemon.call("GET", f"/jobs/{message['job_id']}"))[1]["state"] != "active")

        await eventually(ended)
        _, job = await daemon.call("GET", f"/jobs/{message['job_id']}")
        assert (job["state"], job["reason"], job["attempt"]) == ("dead", "poison", 1)
        await daemon.send(connection, "m1")
        assert await all_arrive(daemon, connection, 1) == ["m1"]


async def test_promise_5_deploys_burn_no_attempt_and_are_no_crash(tmp_path: Path, receiver: Receiver) -> None:
    receiver.open.clear()
    async with Daemon(tmp_path / "state", FAST + '[drain]\ndeadline = "50ms"\n') as daemon:
        connection = (await daemon.connect(webhook_url=receiver.url))["id"]
        await daemon.send(connection, "m0")
        for posts in (4, 8, 12, 16):  # four at once, each deploy cuts them off: more often than attempts and crashes
            await posted(receiver, posts)
            assert await daemon.stop() == 0
            await daemon.start()
        receiver.open.set()

        async def delivered() -> bool:
            rows = await daemon.pages("/deliveries")
            return {(row["state"], row["attempts"]) for row in rows} == {("delivered", 1)}

        await eventually(delivered, within=20)


# --- 6: a slow receiver hurts itself only ---


async def test_promise_6_a_hanging_or_failing_receiver_takes_nothing_from_the_others(daemon: Daemon) -> None:
    async with Receiver() as hanging, Receiver() as failing, Receiver() as well:
        hanging.open.clear()
        failing.reply = Reply(500)
        for receiver in (hanging, failing, well):
            assert (await daemon.call("POST", "/endpoints", {"url": receiver.url, "types": ["message.*"]}))[0] == 201
        connection = (await daemon.connect())["id"]
        sent = {(await daemon.send(connection, f"m{n}"))["id"] for n in range(40)}

        def all_told() -> bool:
            told = {(body["type"], body["data"]["message_id"]) for body in well.events()}
            return {(kind, id) for kind in ("message.sent", "message.read") for id in sent} <= told

        await eventually(all_told, within=20)
        assert len(hanging.received) == 4  # [webhooks] endpoint_concurrency


# --- 7: stop is boring ---


async def test_promise_7_sigterm_under_load_exits_0_and_nothing_is_lost_or_doubled() -> None:
    verdict, _ = await one_run(faults.terminate, messages=100)
    assert verdict.ok, verdict
    assert (verdict.doubled, verdict.resent) == (0, 0)


async def test_promise_7_what_runs_is_finished_before_the_exit(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST.replace("5ms", "2s")) as daemon:
        connection = (await daemon.connect())["id"]
        message = await daemon.send(connection, "m0")
        await reaches(daemon, message["id"], "sending")
        assert await daemon.stop() == 0
    with sqlite3.connect(daemon.state / "zapd.db") as rows:
        assert rows.execute("select status from messages where direction = 'outbound'").fetchall() == [("sent",)]
        assert rows.execute("select count(*) from outbox where queue = 'message:send'").fetchone() == (0,)
    rows.close()


async def test_promise_7_while_it_drains_it_accepts_and_a_second_sigterm_hands_back_at_once(daemon: Daemon) -> None:
    # m0 is handed back in the middle of its call: `hold` lets its receipt decide, and sends nothing a second time.
    connection = (await daemon.connect(config={"on_ambiguous": "hold"}))["id"]
    await trouble(daemon, connection, {"kind": "slow", "ms": 25_000})
    await daemon.send(connection, "m0")
    await all_arrive(daemon, connection, 1)
    daemon.signal(signal.SIGTERM)

    async def draining() -> bool:
        return (await daemon.call("GET", "/ready"))[0] == 503

    await eventually(draining)
    async with aiohttp.ClientSession() as newcomer, newcomer.get(f"{daemon.url}/health") as answer:
        assert answer.status == 200  # the listener is the last to go
    await daemon.send(connection, "m1")
    assert daemon.process
    assert daemon.process.returncode is None
    daemon.signal(signal.SIGTERM)
    assert await daemon.wait(within=15) == 0  # neither the deadline of 30 s nor the 25 s
    await daemon.start()
    assert await all_arrive(daemon, connection, 2) == ["m0", "m1"]


# --- 8: nobody gets in or through ---


async def test_promise_8_a_key_opens_what_its_scope_and_connection_say(daemon: Daemon) -> None:
    mine, other = (await daemon.connect())["id"], (await daemon.connect())["id"]
    body = {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}

    async def status(key: str, method: str, path: str, given: Any = None) -> int:
        return (await daemon.call(method, path, given, headers={"Authorization": f"Bearer {key}"}))[0]

    async def key(**given: Any) -> str:
        return str((await daemon.call("POST", "/keys", {"label": "k", **given}))[1]["key"])

    assert await status("wrong", "GET", "/connections") == 401
    reader, bound = await key(scopes=["read"]), await key(scopes=["send", "read"], connection_id=mine)
    assert await status(reader, "GET", f"/connections/{mine}") == 200
    for path, given in (
        (f"/connections/{mine}/send", body),
        (f"/connections/{mine}/pause", None),
        ("/keys", {"label": "x", "scopes": ["admin"]}),
        ("/queues/pause", None),
    ):
        assert await status(reader, "POST", path, given) == 403, path
    assert await status(bound, "POST", f"/connections/{mine}/send", body) == 202
    assert await status(bound, "POST", f"/connections/{other}/send", body) in (403, 404)
    assert await arrived(daemon, other) == []


async def test_promise_8_only_the_provider_can_post_its_webhooks(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST + '[cloud]\nbase_url = "http://127.0.0.1:9"\n') as daemon:
        given = {"id": "meta", "transport": "cloud", "label": "meta", "config": CONFIG}
        assert (await daemon.call("POST", "/connections", given))[0] == 202
        raw = webhook_bytes("forged?")

        async def post(body: bytes, signature: str | None) -> int:
            headers = {"X-Hub-Signature-256": signature} if signature else {}
            return (await daemon.call("POST", "/hooks/cloud/meta", body, headers=headers))[0]

        assert await post(raw, None) == 401
        assert await post(raw, sign(raw, "another secret")) == 401
        assert await post(raw + b" ", sign(raw)) == 401
        assert await daemon.messages("meta", "inbound") == []
        assert await post(raw, sign(raw)) == 200

        async def there() -> bool:
            return len(await daemon.messages("meta", "inbound")) == 1

        await eventually(there)


async def test_promise_8_private_addresses_cannot_be_reached_once_others_can_connect(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with Daemon(tmp_path / "state", FAST) as daemon:
        connection = (await daemon.connect(webhook_url=receiver.url))["id"]
        assert await daemon.stop() == 0
        before = len(receiver.received)
        daemon.host = "0.0.0.0"
        await daemon.start()
        for url in (receiver.url, "http://169.254.169.254/latest", "http://10.0.0.1/", "https://[::ffff:127.0.0.1]/"):
            status, problem = await daemon.call("POST", "/endpoints", {"url": url})
            assert status == 422, (url, problem)
        await daemon.send(connection, "m0")  # the endpoint of before is refused at each POST

        async def refused() -> bool:
            return any("address is refused" in (row["last_error"] or "") for row in await daemon.pages("/deliveries"))

        await eventually(refused)
        assert len(receiver.received) == before


async def test_promise_8_secrets_are_nowhere_in_the_clear(tmp_path: Path, receiver: Receiver) -> None:
    async with Daemon(tmp_path / "state", FAST + '[cloud]\nbase_url = "http://127.0.0.1:9"\n') as daemon:
        sandbox = await daemon.connect(webhook_url=receiver.url)
        secret, words = sandbox["webhook_secret"], "words for one pair of eyes"
        await reaches(daemon, (await daemon.send(sandbox["id"], words))["id"], "read")
        config = {**CONFIG, "app_secret": "a-secret-of-meta", "access_token": "a-token-of-meta"}
        assert (await daemon.call("POST", "/connections", {"transport": "cloud", "label": "m", "config": config}))[
            0
        ] == 202
        _, made = await daemon.call("POST", "/keys", {"label": "k", "scopes": ["read"]})
        answers = [
            await daemon.call("GET", path, raw=True) for path in ("/connections", "/endpoints", "/keys", "/status")
        ]
        assert await daemon.stop() == 0
        kept = [
            path for path in daemon.state.rglob("*") if path.is_file() and path.name not in ("admin.key", "data.key")
        ]
        everything = b"".join([path.read_bytes() for path in kept] + [content for _, content in answers])
        assert b"5511" not in daemon.log_text().encode()
        tokens = list(config.values())[2:4]
        for hidden in (secret, secret.removeprefix("whsec_"), made["key"], daemon.key, words, *tokens):
            assert str(hidden).encode() not in everything, hidden
        assert (daemon.state / "admin.key").stat().st_mode & 0o777 == 0o600


# --- 9: no unbounded anything ---


async def test_promise_9_what_is_done_leaves_nothing_behind_in_redis(daemon: Daemon, receiver: Receiver) -> None:
    connection = (await daemon.connect(webhook_url=receiver.url))["id"]
    kept: list[set[bytes]] = []
    with redis_of(daemon) as client:
        for round_ in range(3):
            sent = [await daemon.send(connection, f"r{round_}n{n}", to=f"55119{round_:04d}{n:04d}") for n in range(60)]

            async def over() -> bool:
                _, status = await daemon.call("GET", "/status")
                return bool(status["outbox"]["rows"] == 0)

            for message in sent:
                await reaches(daemon, message["id"], "read")
            await eventually(over, within=20)
            await eventually(lambda: not list(client.scan_iter("*:ls:*")))  # of lanes, while their past matters
            kept.append(set(client.keys()))
            assert not [name for name in kept[-1] if name.endswith((b":jobs", b":a", b":d"))]
            for name in kept[-1]:
                if client.type(name) == b"stream":
                    assert client.xlen(name) == 0, name
                elif client.type(name) == b"list":
                    assert client.llen(name) <= 100, name
    assert kept[2] <= kept[1] | kept[0]


async def test_promise_9_requests_and_pages_have_a_cap(daemon: Daemon) -> None:
    connection = (await daemon.connect())["id"]
    big = b'{"to": "5511999998888", "type": "text", "payload": {"text": "' + b"x" * 2_000_000 + b'"}}'
    assert (await daemon.call("POST", f"/connections/{connection}/send", big))[0] == 413
    assert (await daemon.call("GET", "/events?limit=1000000"))[0] == 422
    for _ in range(40):
        status, _ = await daemon.call("GET", "/keys", headers={"Authorization": "Bearer wrong"})
    assert status == 429  # guessing keys is slow


async def test_promise_9_an_answer_of_any_size_is_kept_to_16_kib(daemon: Daemon, receiver: Receiver) -> None:
    receiver.reply = Reply(200, body=b"x" * 3_000_000)
    connection = (await daemon.connect(webhook_url=receiver.url))["id"]
    await daemon.send(connection, "m0")

    async def delivered() -> list[dict[str, Any]]:
        return [row for row in await daemon.pages("/deliveries") if row["attempts"]]

    rows = await eventually(delivered)
    _, row = await daemon.call("GET", f"/deliveries/{rows[0]['id']}")
    assert 0 < len(row["tries"][0]["response"]) <= 16 * 1024


def webhook_bytes(text: str) -> bytes:
    """A webhook of Meta's with one message."""
    import orjson

    return orjson.dumps(webhook_body({"messages": [text_message("wamid.1", text)]}))


async def test_6_a_backlog_of_a_dead_endpoint_burns_no_tries_over_a_restart_that_loses_redis(
    daemon: Daemon, receiver: Receiver
) -> None:
    """The receiver said when to come again: who kills zapd and its Redis meanwhile does not make it forget that."""
    count = 12
    receiver.reply = Reply(503, headers={"Retry-After": "3600"})
    connection = (await daemon.connect())["id"]
    _, made = await daemon.call("POST", "/endpoints", {"url": receiver.url, "types": ["message.sent"]})
    await daemon.send(connection, "m0")
    await eventually(lambda: receiver.received, within=15)
    for n in range(1, count):
        await daemon.send(connection, f"m{n}")

    async def tries() -> list[int]:
        return [d["attempts"] for d in await daemon.pages(f"/deliveries?endpoint_id={made['id']}")]

    async def all_there() -> list[int]:
        found = await tries()
        return found if len(found) == count and any(found) else []

    before = await eventually(all_there, within=15)
    asked = len(receiver.received)
    assert asked < count

    await daemon.kill()
    for path in daemon.state.rglob("*.aof"):
        path.unlink()
    await daemon.start()

    async def looked_at() -> bool:
        """Nothing is left to be claimed: what was put back waits with its endpoint."""
        _, status = await daemon.call("GET", "/status")
        queue = status["queues"]["webhook:delivery"]
        return bool(queue["delayed"] and not queue["active"])

    await eventually(looked_at, within=20)
    assert (len(receiver.received), await tries()) == (asked, before)

    receiver.reply = Reply()
    await daemon.call("PATCH", f"/endpoints/{made['id']}", {"enabled": True})  # a person knows better
    await eventually(lambda: len(receiver.received) >= asked + count, within=20)
