"""Contacts on a real database: one person under one id, merged when they turn out to be one; opt-out and back."""

import asyncio

import pytest

from tests.integration.messaging.world import World, data_of
from zapd.errors import Conflict, InvalidInput, NotFound
from zapd.model.contact import Alias, Contact

PHONE, OTHER_SPELLING, LID = "5511987654321", "551187654321", "8189@lid"


async def known(world: World, *aliases: tuple[str, str], name: str | None = None, tenant: str = "default") -> Contact:
    found = await world.contacts.known(tenant, [Alias(*alias) for alias in aliases], name=name)
    assert found is not None
    return found


async def everybody(world: World, tenant: str = "default") -> list[str]:
    found = await world.contacts.listed(tenant, opted_out=None, found=None, after=None, limit=100)
    return [contact.id for contact in found]


async def test_whoever_is_met_again_is_the_same_contact(world: World) -> None:
    first = await known(world, ("phone", PHONE), name="Ana")
    assert first.id.startswith("ctc_")
    assert (await known(world, ("phone", PHONE), ("lid", LID))).id == first.id
    again = await known(world, ("lid", LID))
    assert (again.id, again.name, again.aliases["lid"]) == (first.id, "Ana", (LID,))


async def test_both_spellings_of_a_number_are_one_contact(world: World) -> None:
    assert (await known(world, ("phone", PHONE))).id == (await known(world, ("wa_id", OTHER_SPELLING))).id


async def test_two_that_turn_out_to_be_one_person_are_merged_and_the_older_id_stays(world: World) -> None:
    hidden = await known(world, ("lid", LID), name="Ana")
    phone = await known(world, ("phone", PHONE))
    await world.contacts.opt_out("default", phone.id, by="SAIR")
    assert hidden.id != phone.id

    one = await known(world, ("phone", PHONE), ("lid", LID))

    assert (one.id, one.name) == (hidden.id, "Ana")
    assert await everybody(world) == [hidden.id]
    assert await world.contacts.opted_out("default", LID) is not None  # whoever wanted nothing gets nothing
    with pytest.raises(NotFound):
        await world.contacts.get("default", phone.id)


async def test_many_who_meet_somebody_at_once_make_one_contact(world: World) -> None:
    spellings = [PHONE, OTHER_SPELLING] * 8
    ids = {c.id for c in await asyncio.gather(*[known(world, ("phone", number)) for number in spellings])}
    assert len(ids) == 1
    assert len(await everybody(world)) == 1


async def test_tenants_do_not_share_people(world: World) -> None:
    await world.contacts.opt_out("default", (await known(world, ("phone", PHONE))).id, by="api")
    theirs = await known(world, ("phone", PHONE), tenant="other")
    assert theirs.opted_out_at is None
    assert await world.contacts.opted_out("other", PHONE) is None


async def test_opting_out_and_in_is_told_once_each(world: World) -> None:
    await world.subscribe("contact.*")
    contact = await known(world, ("phone", PHONE), name="Ana")
    for _ in range(2):
        await world.contacts.opt_out("default", contact.id, by="SAIR")
    out = await world.contacts.opted_out("default", OTHER_SPELLING)
    assert out is not None
    assert (out.opted_out_by, out.opted_out_at) == ("SAIR", world.clock.now_ms())
    for _ in range(2):
        await world.contacts.opt_in("default", contact.id, by="VOLTAR")
    assert await world.contacts.opted_out("default", PHONE) is None
    events = [e for e in await world.events.listed("default") if e.type.startswith("contact.")]
    assert [e.type for e in events] == ["contact.opted_out", "contact.opted_in"]
    assert data_of(events[0]) == {
        "contact": {
            "id": contact.id,
            "name": "Ana",
            "phone": PHONE,
            "wa_id": None,
            "bsuid": None,
            "lid": None,
            "jid": None,
            "username": None,
        },
        "by": "SAIR",
    }
    assert len(await world.jobs("webhook:delivery")) == 2


async def test_a_person_merges_two_by_hand(world: World) -> None:
    first, second = await known(world, ("phone", PHONE)), await known(world, ("lid", LID))
    merged = await world.contacts.merge("default", first.id, second.id)
    assert merged.aliases["lid"] == (LID,)
    assert (await known(world, ("lid", LID))).id == first.id
    with pytest.raises(InvalidInput):
        await world.contacts.merge("default", first.id, first.id)
    with pytest.raises(NotFound):
        await world.contacts.merge("default", first.id, second.id)


async def test_a_deleted_contact_is_forgotten_with_every_id(world: World) -> None:
    contact = await known(world, ("phone", PHONE), ("lid", LID))
    await world.contacts.opt_out("default", contact.id, by="api")
    await world.contacts.delete("default", contact.id)
    assert await world.contacts.opted_out("default", PHONE) is None
    assert (await known(world, ("lid", LID))).id != contact.id


async def test_contacts_are_found_by_any_id_and_made_once(world: World) -> None:
    made = await world.contacts.create("default", [Alias("phone", PHONE)], name="Ana")
    with pytest.raises(Conflict, match=made.id):
        await world.contacts.create("default", [Alias("phone", OTHER_SPELLING)], name=None)
    for number in (PHONE, OTHER_SPELLING):
        (found,) = await world.contacts.listed("default", opted_out=None, found=number, after=None, limit=9)
        assert found.id == made.id
    assert await world.contacts.listed("default", opted_out=True, found=None, after=None, limit=9) == []
    assert (await world.contacts.rename("default", made.id, "Bia")).name == "Bia"
