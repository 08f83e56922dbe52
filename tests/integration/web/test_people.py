"""Contacts, pace, bulk sends and the sandbox's script over HTTP."""

from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE = "5511987654321"
TEXT = {"to": PHONE, "type": "text", "payload": {"text": "Oi"}}


async def contact(daemon: Daemon, known_as: str) -> dict[str, Any]:
    async def found() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await daemon.call("GET", f"/contacts?known_as={known_as}"))[1]["data"]
        return rows

    (row,) = await eventually(found, within=20)
    return row


async def test_stop_is_obeyed_and_can_be_taken_back(daemon: Daemon, connection: str) -> None:
    said = {"from": PHONE, "type": "text", "payload": {"text": "SAIR"}}
    assert (await daemon.call("POST", f"/sandbox/{connection}/inbound", said))[0] == 202

    async def out() -> bool:
        return bool((await contact(daemon, PHONE))["opted_out"])

    await eventually(out, within=20)
    row = await contact(daemon, "551187654321")
    assert (row["phone"], row["opted_out_by"], row["aliases"]["phone"]) == (PHONE, "SAIR", [PHONE])
    status, problem = await daemon.call("POST", f"/connections/{connection}/send", TEXT)
    assert (status, problem["errors"][0]["field"]) == (422, "to")
    status, row = await daemon.call("PATCH", f"/contacts/{row['id']}", {"opted_out": False, "name": "Ana"})
    assert (status, row["opted_out"], row["name"]) == (200, False, "Ana")
    assert (await daemon.call("POST", f"/connections/{connection}/send", TEXT))[0] == 202


async def test_contacts_are_made_merged_and_deleted(daemon: Daemon) -> None:
    status, first = await daemon.call("POST", "/contacts", {"phone": "+55 11 98888-7777", "opted_out": True})
    assert (status, first["phone"], first["opted_out_by"]) == (201, "5511988887777", "api")
    assert (await daemon.call("POST", "/contacts", {"phone": "551188887777"}))[0] == 409
    _, second = await daemon.call("POST", "/contacts", {"lid": "81234@lid"})
    status, merged = await daemon.call("POST", f"/contacts/{first['id']}/merge", {"contact_id": second["id"]})
    assert (status, merged["aliases"]["lid"]) == (200, ["81234@lid"])
    assert (await daemon.call("GET", f"/contacts/{second['id']}"))[0] == 404
    assert (await daemon.call("DELETE", f"/contacts/{first['id']}"))[0] == 204
    assert (await daemon.call("DELETE", f"/contacts/{first['id']}"))[0] == 404
    assert (await daemon.call("POST", "/contacts", {"name": "nobody"}))[0] == 422


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"quiet_hours": {"from": "22:00", "to": "8:00", "time_zone": "America/Sao_Paulo"}}, "config.quiet_hours.to"),
        ({"quiet_hours": {"from": "22:00", "to": "22:00", "time_zone": "America/Sao_Paulo"}}, "config.quiet_hours"),
        ({"quiet_hours": {"from": "22:00", "to": "08:00", "time_zone": "Mars"}}, "config.quiet_hours.time_zone"),
        ({"recipient_per_minute": -1}, "config.recipient_per_minute"),
        ({"new_contacts_per_day": 5, "new_contacts_first_day": 9}, "config"),
        ({"rate_per_minute": 0}, "config.rate_per_minute"),
    ],
)
async def test_a_pace_that_cannot_be_is_refused(daemon: Daemon, config: dict[str, Any], field: str) -> None:
    body = {"transport": "sandbox", "label": "x", "config": config}
    status, problem = await daemon.call("POST", "/connections", body)
    assert (status, [error["field"] for error in problem["errors"]]) == (422, [field])


async def test_the_limits_are_shown_and_can_be_changed(daemon: Daemon) -> None:
    quiet = {"from": "00:00", "to": "23:59", "time_zone": "America/Sao_Paulo"}
    await daemon.connect(id="paced", config={"recipient_per_minute": 12, "recipient_burst": 3})
    change = {"label": "new", "config": {"new_contacts_per_day": 7, "rate_per_minute": 33, "quiet_hours": quiet}}
    status, shown = await daemon.call("PATCH", "/connections/paced", change)
    limits = shown["limits"]
    assert (status, shown["label"], shown["state"]) == (200, "new", "connected")
    assert (limits["per_minute"], limits["recipient_per_minute"], limits["recipient_burst"]) == (33, 12, 3)
    assert (limits["new_contacts_per_day"], limits["new_contacts_left"], limits["quiet_hours"]) == (7, 7, quiet)
    assert shown["next_send_at"] == limits["quiet_until"] or limits["quiet_until"] is None


async def test_new_people_are_held_after_463_and_that_is_shown(daemon: Daemon) -> None:
    await daemon.connect(id="shy")
    await daemon.call("POST", "/sandbox/shy/faults", [{"kind": "timelock", "retry_after": 600}])
    sent = await daemon.send("shy", "hello")

    async def held() -> bool:
        return bool((await daemon.call("GET", "/connections/shy"))[1]["limits"]["new_contacts_paused_until"])

    await eventually(held, within=20)
    assert await daemon.status_of(sent["id"]) == "queued"
    said = {"from": "5511977776666", "type": "text", "payload": {"text": "oi"}}
    await daemon.call("POST", "/sandbox/shy/inbound", said)

    async def known() -> bool:
        return bool(await daemon.messages("shy", "inbound"))

    await eventually(known, within=20)
    answer = await daemon.send("shy", "hi", to="5511977776666")

    async def left() -> bool:
        return await daemon.status_of(answer["id"]) in ("sent", "delivered", "read")

    await eventually(left, within=20)
    assert await daemon.status_of(sent["id"]) == "queued"


async def test_a_bulk_of_messages_has_a_result_for_each(daemon: Daemon) -> None:
    await daemon.connect(id="bulk")
    good = [{**TEXT, "to": f"55119{n:08}", "message_id": f"b{n}"} for n in range(3)]
    bad = [{**TEXT, "to": "abc"}, {"type": "text"}, 7, {**TEXT, "message_id": "b1"}]
    body = {"messages": [*good, *bad]}
    status, answer = await daemon.call("POST", "/connections/bulk/send/bulk", body, headers={"Idempotency-Key": "k"})
    assert status == 202
    assert [item["status"] for item in answer["data"]] == ["queued"] * 3 + ["refused"] * 4
    fields = [[error["field"] for error in item["errors"]] for item in answer["data"][3:]]
    assert fields == [["to"], ["to", "payload"], ["body"], ["message_id"]]

    async def arrived() -> bool:
        return len(await daemon.ledger("bulk")) == 3

    await eventually(arrived, within=20)
    again = await daemon.call("POST", "/connections/bulk/send/bulk", body, headers={"Idempotency-Key": "k"})
    assert again == (202, answer)
    other = {"messages": good}
    assert (await daemon.call("POST", "/connections/bulk/send/bulk", other, headers={"Idempotency-Key": "k"}))[0] == 409
    refused = (await daemon.call("POST", "/connections/bulk/send/bulk", other))[1]["data"]
    assert [item["status"] for item in refused] == ["refused"] * 3
    assert len(await daemon.ledger("bulk")) == 3


@pytest.mark.parametrize("messages", [[], [TEXT] * 1001])
async def test_a_bulk_has_1_to_1000_messages(daemon: Daemon, connection: str, messages: list[Any]) -> None:
    short = [{"to": "x"}] * len(messages)
    assert (await daemon.call("POST", f"/connections/{connection}/send/bulk", {"messages": short}))[0] == 422


async def test_an_account_that_was_replaced_stops_and_says_so(daemon: Daemon) -> None:
    await daemon.connect(id="twice")
    await daemon.call("POST", "/sandbox/twice/faults", [{"kind": "close", "code": "440"}])

    async def stopped() -> bool:
        shown = (await daemon.call("GET", "/connections/twice"))[1]
        return (shown["state"], shown["reason"]) == ("paused", "440_replaced")

    await eventually(stopped, within=20)
