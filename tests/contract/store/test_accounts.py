"""What an account knows, on both databases: who waits for their turn, and what Meta said of templates."""

from dataclasses import replace

from tests.support.store import NOW, TENANT, message
from zapd.model.message import MessageStatus
from zapd.store.database import Database
from zapd.store.messages import MessageStore
from zapd.store.purge import Purge
from zapd.store.reader import Reader
from zapd.store.templates import Template, TemplateStore
from zapd.store.turns import Turn, TurnStore
from zapd.store.writer import Writer


def turn(message_id: str, **changes: object) -> Turn:
    made = Turn(
        tenant=TENANT,
        connection_id="con_1",
        peer="551199998888",
        message_id=message_id,
        priority=5,
        job_id="job_1",
        due_at=None,
        since=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_only_messages_that_are_queued_wait_for_their_turn(
    writer: Writer, reader: Reader, database: Database
) -> None:
    messages, turns = MessageStore(database=database, reader=reader), TurnStore(reader=reader)
    for status in (MessageStatus.QUEUED, MessageStatus.CANCELED):
        await writer.commit(messages.added(message(f"msg_{status}", status=status)))
        await writer.commit(turns.kept(turn(f"msg_{status}")))
    later = turn("msg_queued", due_at=NOW + 6000)
    await writer.commit(turns.kept(later))
    await writer.commit(turns.kept(turn("msg_queued", connection_id="con_2")))

    assert await turns.waiting(TENANT, "con_1", "551199998888") == [later]
    assert await turns.waiting("other", "con_1", "551199998888") == []

    purge = Purge(database=database, writer=writer)
    assert await purge.purge("turns", NOW + 1) == 1  # of the canceled one
    await writer.commit(turns.gone(later))
    assert await turns.waiting(TENANT, "con_1", "551199998888") == []


async def test_the_last_word_of_a_template_counts_and_they_come_in_pages(
    writer: Writer, reader: Reader, database: Database
) -> None:
    templates = TemplateStore(database=database, reader=reader)

    def template(name: str, language: str, state: str = "paused") -> Template:
        return Template(
            tenant=TENANT,
            account="77",
            name=name,
            language=language,
            state=state,
            reason=None,
            since=NOW,
            until=NOW + 1,
        )

    some = [template("a", "en_US"), template("a", "pt_BR"), template("b", "en_US", "disabled")]
    for each in (template("b", "en_US"), *some):
        await writer.commit(templates.told(each))

    assert await templates.get(TENANT, "77", "b", "en_US") == some[2]
    assert await templates.get("other", "77", "b", "en_US") is None
    assert await templates.listed(TENANT, "77", after=None, limit=2) == some[:2]
    assert await templates.listed(TENANT, "77", after=("a", "pt_BR"), limit=2) == some[2:]
    assert await writer.commit(templates.gone(some[0])) is not None
    assert await writer.commit(templates.gone(some[0])) is None
