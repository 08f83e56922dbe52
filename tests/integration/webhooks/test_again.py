"""Recover what an endpoint missed; ping before the old secret goes."""

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.integration.webhooks.world import TENANT, World
from tests.support.receiver import Receiver, Reply
from zapd.errors import Conflict
from zapd.jobs.job import Done
from zapd.model.webhook import ERASED, Category, DeliveryState
from zapd.store.commands import Change, Update
from zapd.store.tables import events
from zapd.webhooks.delivery import BODY_GONE
from zapd.webhooks.ping import is_proven, newest, proven, without_old
from zapd.webhooks.resend import Recover

#: Every event's body.
EMPTIED = Update(
    table=events, columns=(events.c.tenant, events.c.payload), key=1, sets=lambda v: {"payload": v.c.payload}
)


def all_time(world: World, **given: object) -> Recover:
    return Recover(since=0, until=world.clock.now_ms() + 1, **given)  # type: ignore[arg-type]


async def test_pain_13_what_an_endpoint_missed_while_it_was_off_comes_back(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url, types=["message.*"])
    receiver.reply = Reply(410)
    (gone,), (waiting,) = [await world.happens() for _ in range(2)]
    await world.run(gone)
    await world.run(waiting)
    world.take_jobs()
    assert await world.happens() == []  # it is off: no delivery is made
    with pytest.raises(Conflict):
        await world.resender.recover(TENANT, endpoint.id, all_time(world))

    on = await world.rules.changed(endpoint, enabled=True)
    await world.change(world.endpoints.updated(on))
    receiver.reply = Reply(204)
    dry = await world.resender.recover(TENANT, endpoint.id, all_time(world, only_failed=False, dry_run=True))
    assert (dry.failed, dry.missed) == (2, 1)
    assert world.take_jobs() == []
    wet = await world.resender.recover(TENANT, endpoint.id, all_time(world, only_failed=False))
    assert (wet.failed, wet.missed, wet.more) == (2, 1, False)
    for job in world.take_jobs():
        assert await world.run(job) == Done()
    assert {d.state for d in await world.deliveries.listed(TENANT)} == {DeliveryState.DELIVERED}
    again = await world.resender.recover(TENANT, endpoint.id, all_time(world, only_failed=False))
    assert (again.failed, again.missed) == (0, 0)


async def test_pain_20_a_recovery_keeps_to_a_period_and_a_rate(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    await world.change(world.endpoints.updated(await world.rules.changed(endpoint, enabled=False)))
    start = world.clock.now_ms()
    for _ in range(4):
        await world.happens()
        world.clock.advance(10)
    await world.change(world.endpoints.updated(await world.rules.changed(endpoint, enabled=True)))
    what = Recover(since=start + 5_000, until=start + 25_000, only_failed=False, rate=60)
    found = await world.resender.recover(TENANT, endpoint.id, what)
    now = world.clock.now_ms()
    assert found.missed == 2
    assert [job.due_at for job in world.take_jobs()] == [now + 1000, now + 2000]


async def test_what_no_endpoint_may_have_is_not_recovered_either(world: World, receiver: Receiver) -> None:
    """The trail of access is in the same log."""
    endpoint = await world.endpoint(receiver.url)
    for category in (Category.ACCESS, Category.SYSTEM, Category.STATE):
        told = world.announcer.announce(
            "access.denied", tenant=TENANT, at=world.clock.now_ms(), data={}, category=category
        )
        await world.commit(*told.changes, jobs=told.jobs)
    found = await world.resender.recover(TENANT, endpoint.id, all_time(world, only_failed=False, dry_run=True))
    assert found.missed == 0


async def test_pain_14_a_resend_is_sent_although_it_was_delivered(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url)
    (job,) = await world.happens()
    await world.run(job)
    await world.resender.retry(TENANT, (await world.only_delivery()).id)
    (again,) = world.take_jobs()
    assert await world.run(again) == Done()
    assert len(receiver.received) == 2


def verifying(secret: str):  # type: ignore[no-untyped-def]
    """A receiver that checks the signature."""

    async def respond(request: web.Request) -> web.Response:
        try:
            Webhook(secret).verify(await request.read(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        return web.Response(status=204)

    return respond


async def test_a_ping_proves_that_the_receiver_holds_the_new_secret(world: World, receiver: Receiver) -> None:
    old = await world.endpoint(receiver.url)
    rotated = world.rules.rotated(old)
    receiver.respond = verifying(old.secrets[0].value)
    still_old = await world.pinger.ping(rotated)
    assert (still_old.taken, still_old.verifies, still_old.proven) == (False, True, False)
    with pytest.raises(Conflict):
        world.rules.without_old_secrets(rotated, force=False)

    receiver.respond = verifying(rotated.secrets[0].value)
    assert (await world.pinger.ping(rotated)).proven
    noted = proven(rotated, world.clock.now_ms())
    assert is_proven(noted)
    changed = world.rules.without_old_secrets(noted, force=False)
    assert [s.value for s in changed.secrets] == newest(rotated) == [rotated.secrets[0].value]
    assert without_old(changed) == changed


async def test_a_receiver_that_takes_everything_proves_nothing(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    pinged = await world.pinger.ping(endpoint)
    assert (pinged.taken, pinged.verifies, pinged.proven) == (True, False, False)
    assert [body["type"] for body in receiver.events()] == ["ping", "ping"]


async def test_what_lost_its_body_is_not_sent_as_an_empty_shell(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, types=["message.*"])
    (sent,), (late,) = [await world.happens() for _ in range(2)]
    await world.run(sent)
    await world.change(Change(EMPTIED, (TENANT, ERASED)))

    assert await world.run(late) == Done()
    assert len(receiver.received) == 1
    gone = await world.delivery_of(late)
    assert (gone.state, gone.last_error) == (DeliveryState.CANCELED, BODY_GONE)
    with pytest.raises(Conflict, match="nothing left to send"):
        await world.resender.retry(TENANT, (await world.delivery_of(sent)).id)
