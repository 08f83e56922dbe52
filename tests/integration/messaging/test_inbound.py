"""What came in beside text: files, replies, our own phone, and reading the inbox once more."""

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest

from tests.integration.messaging.test_receive import came_in, wrote
from tests.integration.messaging.world import S, World, data_of
from tests.support.fake_meta import NUMBER, status, text_message, webhook_body
from tests.support.kinds import CONTENTS
from zapd.errors import Conflict, InvalidInput, NotFound
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.messaging.submit import Submitted
from zapd.model.media import MediaState
from zapd.model.message import Direction, Message
from zapd.whatsapp.cloud_webhook import parse
from zapd.whatsapp.transport import AliasChange, NotConnected, Permanent, RetryAt, SendError

MIME, JPEG = CONTENTS["image"]
FILE = {"id": "MID", "mime_type": MIME, "sha256": hashlib.sha256(JPEG).hexdigest()}
DAY = 86_400_000


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


def as_meta(world: World) -> None:
    """The connection's bytes are Meta's from now on."""
    world.wire.parser = lambda _connection, raw: parse(raw, phone_number_id=NUMBER)


async def meta_tells(world: World, value: dict[str, Any], field: str = "messages") -> None:
    as_meta(world)
    connection = await world.connections.get("default", "con_1")
    assert connection is not None
    raw = orjson.dumps(webhook_body(value, field=field))
    assert await world.receiver.intake(connection, raw, hashlib.sha256(raw).hexdigest())
    await world.read()


async def got_picture(world: World, **file: Any) -> Message:
    await meta_tells(world, {"messages": [text_message("wamid.PIC", "") | {"type": "image", "image": FILE | file}]})
    (message,) = await came_in(world)
    return message


async def download(world: World) -> tuple[Job, Outcome]:
    """Run the job as the pool does."""
    (job,) = await world.jobs("media:download")
    outcome = await world.downloads.run(job)
    if isinstance(outcome, Discard):
        await world.downloads.dead(job, outcome.reason, outcome.error)
    return job, outcome


# --- files ---


async def test_a_file_follows_its_message(world: World) -> None:
    message = await got_picture(world, caption="gato")
    received = data_of(await world.event(message.id, "message.received"))
    media = received["media"]
    assert received["payload"] == {"caption": "gato", "media_id": media["id"]} == orjson.loads(message.payload)
    assert (media["state"], media["mime"]) == ("pending", MIME)

    world.wire.files.append(JPEG)
    assert (await download(world))[1] == Done()

    told = data_of(await world.event(message.id, "message.media"))["media"]
    assert (told["id"], told["state"], told["size"]) == (media["id"], "ready", len(JPEG))
    item = await world.media.get("default", media["id"])
    assert item is not None
    assert (item.state, item.sha256, item.connection_id) == (MediaState.READY, FILE["sha256"], "con_1")
    assert item.sha256
    assert world.files.path(item.sha256).read_bytes() == JPEG
    assert "base64" not in str(received)


async def test_the_link_in_the_event_works_once_the_file_is_here(world: World) -> None:
    message = await got_picture(world)
    url = data_of(await world.event(message.id, "message.received"))["media"]["url"]
    parts = urlsplit(url)
    assert world.links.check(parts.path.rpartition("/")[2], dict(parse_qsl(parts.query))) == "default"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotConnected("disconnected"), Snooze),
        (RetryAt("80007", wait=60.0), Snooze),
        (RetryAt("500"), Retry),
        (Permanent("33", "not there yet"), Retry),
        (Permanent("unsupported"), Discard),
    ],
    ids=["away", "limited", "failed", "not-there", "unsupported"],
)
async def test_a_download_that_fails_goes_on(world: World, error: SendError, outcome: type) -> None:
    await got_picture(world)
    world.wire.files.append(error)
    assert isinstance((await download(world))[1], outcome)


@pytest.mark.parametrize("content", [b"other bytes", JPEG + bytes(1024 * 1024)], ids=["changed", "too-large"])
async def test_a_content_that_is_wrong_is_not_taken(world: World, content: bytes) -> None:
    message = await got_picture(world)
    world.wire.files.append(content)
    _, outcome = await download(world)
    assert not isinstance(outcome, Done)
    media_id = orjson.loads(message.payload)["media_id"]
    item = await world.media.get("default", media_id)
    assert item is not None
    assert item.state is not MediaState.READY


async def test_a_file_that_will_not_come_is_said_and_may_be_retried(world: World) -> None:
    message = await got_picture(world)
    (job,) = await world.jobs("media:download")
    await world.downloads.dead(job, "33", "gone")
    told = data_of(await world.event(message.id, "message.media"))["media"]
    assert (told["state"], told["error"]) == ("failed", {"code": "33", "detail": "gone"})

    world.wire.files.append(JPEG)
    assert await world.downloads.run(job) == Done()
    item = await world.media.get("default", told["id"])
    assert item is not None
    assert (item.state, item.error) == (MediaState.READY, None)


async def test_a_download_that_ran_twice_is_told_once(world: World) -> None:
    message = await got_picture(world)
    world.wire.files.extend([JPEG, JPEG])
    job, _ = await download(world)
    assert await world.downloads.run(job) == Done()
    await world.event(message.id, "message.media")  # exactly one


# --- who wrote, and about what ---


async def test_what_is_quoted_or_changed_is_named_by_our_id(world: World) -> None:
    first = await world.submit()
    await world.run(await world.job(first))  # as P1
    reaction = {"type": "reaction", "reaction": {"message_id": "P1", "emoji": "❤"}}
    quote = text_message("wamid.2", "sim") | {"context": {"id": "P1"}}
    await meta_tells(world, {"messages": [text_message("wamid.1", "") | reaction, quote]})
    by_type = {m.type: data_of(await world.event(m.id, "message.received")) for m in await came_in(world)}
    ours = {"provider_id": "P1", "message_id": first.id}
    assert (by_type["reaction"]["about"], by_type["text"]["reply_to"]) == (ours, ours)


async def test_what_is_written_on_the_phone_is_sent_by_us(world: World) -> None:
    echo = text_message("wamid.E", "oi", sender="5511400000000") | {"to": "5511987654321"}
    await meta_tells(world, {"message_echoes": [echo]}, field="smb_message_echoes")
    (message,) = await world.messages.history("default", "con_1", direction=Direction.OUTBOUND)
    assert (message.status, message.peer, message.type) == (S.SENT, "5511987654321", "text")
    assert data_of(await world.event(message.id, "message.sent"))["origin"] == "phone"
    assert await world.windows.get("default", "con_1", "551187654321") is None  # the contact wrote nothing


async def test_ids_of_people_are_handed_on_before_their_message(world: World) -> None:
    contacts = [{"profile": {"name": "Ana"}, "wa_id": "5511987654321", "user_id": "BR.1"}]
    await meta_tells(world, {"contacts": contacts, "messages": [text_message("wamid.1", "oi")]})
    (told,) = world.learnt
    assert not isinstance(told, AliasChange)
    assert told.aliases.known() == {"phone": "5511987654321", "wa_id": "5511987654321", "bsuid": "BR.1"}


async def test_a_notice_of_the_account_is_an_event_and_comes_once(world: World) -> None:
    value = {"event": "RED", "metadata": {"phone_number_id": NUMBER}}
    await meta_tells(world, value, field="phone_number_quality_update")
    events = await world.events.listed("default", type="account.phone_number_quality_update")
    assert [event.severity for event in events] == ["warning"]
    (row,) = await world.inbox.listed("default", connection_id=None, failed=None, after=None, limit=10)
    await world.receiver.process("default", row.id)
    await world.change(world.inbox.processed("default", row.id, 1))
    await world.read()
    assert len(await world.events.listed("default", type="account.phone_number_quality_update")) == 1


async def test_a_notice_beside_receipts_is_not_lost_when_those_are_read_first(world: World) -> None:
    """Each has a job of its own, and both leave the time in the row."""
    value = {"statuses": [status("wamid.out", "sent")], "errors": [{"code": 130429}]}
    as_meta(world)
    connection = await world.connections.get("default", "con_1")
    assert connection is not None
    assert await world.receiver.intake(connection, orjson.dumps(webhook_body(value)), "k")
    for queue in ("message:status", "message:receive"):
        (job,) = await world.jobs(queue)
        assert await world.receiver.receive(job) == Done()
    assert len(await world.events.listed("default", type="account.error")) == 1


# --- the inbox once more ---


async def test_a_row_that_could_not_be_read_is_read_again(world: World) -> None:
    await world.intake(wrote("IN1"))
    (job,) = await world.jobs("message:receive")
    await world.receiver.dead(job, "failed", "a bug")
    await world.change(world.outbox_rows.removed("default", job.id))
    (row,) = await world.inbox.listed("default", connection_id="con_1", failed=True, after=None, limit=10)
    assert (row.error, await came_in(world)) == ("failed: a bug", [])

    (job_id,) = await world.receiver.process("default", row.id)
    assert [job.id for job in await world.jobs("message:receive")] == [job_id]
    await world.read()
    assert [m.provider_id for m in await came_in(world)] == ["IN1"]
    again = await world.inbox.get("default", row.id)
    assert again is not None
    assert (again.error, again.processed_at) == (None, world.clock.now_ms())


async def test_reading_again_what_was_applied_changes_nothing(world: World) -> None:
    await world.tell(wrote("IN1"))
    (row,) = await world.inbox.listed("default", connection_id=None, failed=False, after=None, limit=10)
    await world.receiver.process("default", row.id)
    await world.read()
    assert len(await came_in(world)) == 1


async def test_a_row_that_is_not_there_or_not_readable_is_explained(world: World) -> None:
    with pytest.raises(NotFound):
        await world.receiver.process("default", "inb_x")
    await world.change(world.inbox.added("default", "inb_1", "con_1", "k", b"\xff", 1))
    with pytest.raises(Conflict, match="not of this provider"):
        await world.receiver.process("default", "inb_1")


# --- the window ---


async def submit_text(world: World, to: str = "5511977776666") -> None:
    await world.submit(to=to)


async def test_outside_of_the_window_only_templates_are_taken(world: World) -> None:
    world.wire.window_seconds = 86_400.0
    await world.tell(wrote(at=world.clock.value))
    await submit_text(world)

    world.clock.value += DAY - 1
    await submit_text(world)
    world.clock.value += 1
    with pytest.raises(InvalidInput, match=r"window closed at 2025-06-16T15:06:40\.000Z .*only a template"):
        await submit_text(world)
    await world.submit(to="5511977776666", type="template", payload=b'{"name":"a","language":"pt_BR","components":[]}')

    await world.tell(wrote("IN2", at=world.clock.value))
    await submit_text(world)


async def test_a_message_that_waited_until_the_window_closed_does_not_reach_the_provider(world: World) -> None:
    world.wire.window_seconds = 86_400.0
    await world.tell(wrote(at=world.clock.value))
    late = world.clock.value + DAY + 1
    to = {"to": "5511977776666", "send_at": late}
    text = await world.submit(**to)
    template = await world.submit(**to, type="template", payload=b'{"name":"a","language":"pt_BR","components":[]}')

    world.clock.value = late
    outcome = await world.run(await world.job(text))
    assert isinstance(outcome, Discard)
    assert (outcome.reason, "24 h window closed at 2025-06-16T" in outcome.error) == ("window_closed", True)
    message = await world.message(text.id)
    assert (message.status, message.error_code, world.wire.sent) == (S.DLQ, "window_closed", [])
    assert "sending" not in await world.story(text.id)
    assert await world.run(await world.job(template)) == Done()

    await world.tell(wrote("IN2", at=world.clock.value))
    again = await world.messaging.retry("default", text.id)
    assert await world.run(await world.job(Submitted(id=again.id, job_id=again.job_id or ""))) == Done()


async def test_what_may_have_left_already_is_not_judged_by_its_window(world: World) -> None:
    world.wire.window_seconds = 86_400.0
    await world.tell(wrote(at=world.clock.value))
    submitted = await world.submit(to="5511977776666")
    job = await world.job(submitted)
    await world.run(job)
    world.clock.value += DAY
    assert await world.run(job) == Done()
    assert await world.status(submitted.id) is S.SENT


async def test_a_number_in_its_other_spelling_has_the_same_window(world: World) -> None:
    world.wire.window_seconds = 86_400.0
    await world.tell(wrote(peer="551177776666", at=world.clock.value - 2 * DAY))
    with pytest.raises(InvalidInput, match="window closed"):
        await submit_text(world, "+55 11 97777-6666")


async def test_a_contact_who_never_wrote_has_no_window(world: World) -> None:
    world.wire.window_seconds = 86_400.0
    with pytest.raises(InvalidInput, match="has not written within 24 h"):
        await submit_text(world)
    template = b'{"name":"a","language":"pt_BR","components":[]}'
    opening = await world.submit(to="5511977776666", type="template", payload=template)
    assert await world.run(await world.job(opening)) == Done()
    with pytest.raises(InvalidInput, match="only a template"):  # ours opens no window
        await submit_text(world)


async def test_other_transports_have_no_window(world: World) -> None:
    await world.connect("con_old", created_at=world.clock.value - DAY)
    await world.submit(connection_id="con_old")
    await submit_text(world)


# --- read and typing ---


async def test_a_message_is_marked_as_read(world: World) -> None:
    await world.tell(wrote("IN1"))
    (message,) = await came_in(world)
    await world.presence.mark_read(message)
    assert [target.provider_id for target in world.wire.read] == ["IN1"]
    ours = await world.message((await world.submit()).id)
    with pytest.raises(Conflict, match="only a message that came in"):
        await world.presence.mark_read(ours)


async def test_typing_goes_with_the_newest_message(world: World) -> None:
    await world.tell(wrote("IN1"))
    await world.tell(wrote("IN2"))
    await world.presence.typing("default", "con_1", "5511977776666")
    await world.presence.typing("default", "con_1", "5511900000000")
    assert [(peer, last and last.provider_id) for peer, last in world.wire.typed] == [
        ("5511977776666", "IN2"),
        ("5511900000000", None),
    ]
    world.wire.up = False
    with pytest.raises(Conflict, match="not connected"):
        await world.presence.typing("default", "con_1", "5511977776666")
