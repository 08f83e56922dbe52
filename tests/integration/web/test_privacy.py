"""Personal data over HTTP and the command line."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def talked(daemon: Daemon, connection: str, to: str, text: str) -> None:
    """A message that was read, and its reply."""
    sent = await daemon.send(connection, text, to=to)

    async def answered() -> bool:
        return len(await _with(daemon, connection, to)) >= 2 and await daemon.status_of(sent["id"]) == "read"

    await eventually(answered)


async def _with(daemon: Daemon, connection: str, peer: str) -> list[dict[str, Any]]:
    found = await daemon.pages(f"/connections/{connection}/messages")
    return [m for m in found if m["peer"] == peer]


async def test_a_person_is_exported_and_erased_under_every_id(daemon: Daemon, connection: str) -> None:
    ana, bruno = "5511999990001", "5511999990002"
    await talked(daemon, connection, ana, "for ana")
    await talked(daemon, connection, bruno, "for bruno")
    (contact,) = (await daemon.call("GET", f"/contacts?known_as={ana}"))[1]["data"]

    lead = {"type": "lead.created", "data": {"name": "Ana", "phone": "(11) 99999-0001"}}
    assert (await daemon.call("POST", "/events", lead))[0] == 202

    given = (await daemon.call("GET", f"/contacts/{contact['id']}/export"))[1]
    assert {m["payload"]["text"] for m in given["messages"]} == {"for ana", "You wrote: for ana"}
    assert [(told["type"], told["payload"]["data"]) for told in given["events"]] == [("lead.created", lead["data"])]
    assert [known["id"] for known in given["contacts"]] == [contact["id"]]

    # The other spelling of the same Brazilian number.
    status, report = await daemon.call("POST", "/contacts/+55 11 9999-0001/erase".replace(" ", "%20"))

    assert status == 200, report
    assert (report["removed"]["messages"], report["removed"]["contacts"], report["kept"]) == (2, 1, {})
    assert await _with(daemon, connection, ana) == []
    assert (await daemon.call("GET", f"/contacts/{contact['id']}"))[0] == 404
    assert ana not in orjson.dumps(await daemon.pages("/events")).decode()
    assert len(await _with(daemon, connection, bruno)) == 2


async def test_who_opted_out_and_is_erased_is_not_written_to_again(daemon: Daemon, connection: str) -> None:
    carla = "5511999990003"
    await talked(daemon, connection, carla, "for carla")
    (contact,) = (await daemon.call("GET", f"/contacts?known_as={carla}"))[1]["data"]
    await daemon.call("PATCH", f"/contacts/{contact['id']}", {"opted_out": True})

    report = (await daemon.call("POST", f"/contacts/{carla}/erase"))[1]

    assert list(report["kept"]) == [contact["id"]]
    body = {"to": carla, "type": "text", "payload": {"text": "again"}}
    assert (await daemon.call("POST", f"/connections/{connection}/send", body))[0] == 422


async def test_the_command_line_says_what_was_removed(daemon: Daemon, connection: str) -> None:
    dora = "5511999990004"
    await talked(daemon, connection, dora, "for dora")
    arguments = ["contacts", "erase", dora, "--yes", "--url", daemon.url, "--state-dir", str(daemon.state)]
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0
    assert "messages" in said


async def test_new_keys_while_messages_flow(daemon: Daemon, connection: str) -> None:
    before = await daemon.send(connection, "before", to="5511999990005")
    assert (await daemon.call("POST", "/privacy/rotation"))[0] == 202

    async def done() -> bool:
        return bool((await daemon.call("GET", "/privacy/rotation"))[1]["state"] == "done")

    await eventually(done)
    for sent, text in ((before, "before"), (await daemon.send(connection, "after", to="5511999990005"), "after")):
        assert (await daemon.call("GET", f"/messages/{sent['id']}"))[1]["payload"] == {"text": text}


async def test_a_tenant_is_erased_with_all_it_has(daemon: Daemon) -> None:
    made = (await daemon.call("POST", "/tenants", {"name": "Gone", "id": "gone"}))[1]
    headers = {"Authorization": f"Bearer {made['key']}"}
    body = {"id": "line", "transport": "sandbox", "label": "x"}
    assert (await daemon.call("POST", "/connections", body, headers=headers))[0] == 202

    assert (await daemon.call("DELETE", "/tenants/gone"))[0] == 202

    async def out() -> bool:
        return (await daemon.call("GET", "/connections", headers=headers))[0] == 401

    await eventually(out)
    assert (await daemon.call("DELETE", "/tenants/default"))[0] == 409
    assert (await daemon.call("DELETE", "/tenants/nobody"))[0] == 404


@pytest.mark.parametrize(("who", "status"), [("nonsense!", 422), ("ctc_nobody", 404)])
async def test_an_impossible_person_is_refused(daemon: Daemon, who: str, status: int) -> None:
    assert (await daemon.call("GET", f"/contacts/{who}/export"))[0] == status
