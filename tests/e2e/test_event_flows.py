"""The three flows of zapd/events/example.toml, exactly that file, against local receivers and a real SMTP server."""

import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.controller import Controller

import zapd.events
from tests.support import eventually
from tests.support.daemon import Daemon, free_port
from tests.support.receiver import Receiver
from zapd.announce import iso

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

EXAMPLE = Path(zapd.events.__file__).parent / "example.toml"
LEAD = {"id": 7, "name": "Ana", "phone": "5511999998888", "email": "ana@example.com", "campaign": "spring"}


class Mailbox:
    """What a real SMTP server took."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 kept"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box, port = Mailbox(), free_port()
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box, port
    server.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def crm() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def finance() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(
    tmp_path_factory: pytest.TempPathFactory, crm: Receiver, finance: Receiver, mailbox: tuple[Mailbox, int]
) -> AsyncIterator[Daemon]:
    environ = {
        "CRM_URL": crm.url,
        "CRM_TOKEN": "crm-token",
        "FINANCE_URL": finance.url,
        "FINANCE_KEY": "finance-key",
        "CAMPAIGNS_URL": crm.url + "/ads",
        "SITE_SECRET": "site-secret",
        "ZAPD_EMAIL__HOST": "127.0.0.1",
        "ZAPD_EMAIL__PORT": str(mailbox[1]),
        "ZAPD_EMAIL__TLS": "none",
        "ZAPD_SANDBOX__PAIR_AFTER": "50ms",
        "ZAPD_LIMITS__SESSION_PER_MINUTE": "6000",
    }
    async with Daemon(tmp_path_factory.mktemp("state"), EXAMPLE.read_text(), environ=environ) as running:
        await running.connect(id="main")
        yield running


async def done(daemon: Daemon, event_id: str, *, pending: int = 0) -> list[Any]:
    """The event's actions, when all but `pending` of them are done."""

    async def over() -> Any:
        event = (await daemon.call("GET", f"/events/{event_id}"))[1]
        states = [action["state"] for action in event["actions"]]
        assert "dead" not in states, event["actions"]
        return event["actions"] if states and states.count("done") == len(states) - pending else None

    found: list[Any] = await eventually(over, within=40)
    return found


async def texts(daemon: Daemon) -> list[str]:
    return [row["payload"]["text"] for row in await daemon.ledger("main")]


async def said(daemon: Daemon, text: str) -> None:
    """Wait until this message arrived in the simulated network, once."""

    async def arrived() -> bool:
        return text in await texts(daemon)

    await eventually(arrived, within=20)
    assert (await texts(daemon)).count(text) == 1


async def test_a_lead_from_the_site_is_registered_answered_and_assigned(daemon: Daemon, crm: Receiver) -> None:
    raw = json.dumps({"event_id": "s-1", "event": "lead.created", "data": LEAD}).encode()
    signature = hmac.new(b"site-secret", raw, hashlib.sha256).hexdigest()
    headers = {"X-Site-Signature": signature}
    status, answer = await daemon.call("POST", "/hooks/site", raw, headers=headers)
    assert status == 202
    await done(daemon, answer["id"])

    calls = {call.path: call for call in crm.received}
    registered = calls["/hook/leads"]
    assert registered.headers["authorization"] == "Bearer crm-token"
    assert registered.json == {
        "external_id": 7,
        "full_name": "Ana",
        "phone": "5511999998888",
        "email": "ana@example.com",
        "origin": "site",
    }
    assert calls["/hook/ads/assignments"].json == {"lead": 7, "campaign": "spring"}
    await said(daemon, "Olá Ana! Recebemos seu contato e já vamos responder.")
    # The site sends it once more: nothing happens a second time.
    again = (await daemon.call("POST", "/hooks/site", raw, headers=headers))[1]
    assert again == {"id": answer["id"], "duplicate": True}
    assert len(crm.received) == 2


async def test_a_client_who_registered_is_welcomed_and_billed(
    daemon: Daemon, finance: Receiver, mailbox: tuple[Mailbox, int]
) -> None:
    data = {**LEAD, "name": "Bia", "email": "bia@example.com", "plan": "ouro"}
    answer = (await daemon.call("POST", "/events", {"type": "client.registered", "data": data}))[1]
    actions = await done(daemon, answer["id"])

    (mail,) = mailbox[0].mails
    assert (mail["To"], mail["Subject"]) == ("bia@example.com", "Bem-vindo, Bia!")
    assert "Plano: ouro." in mail.get_payload(decode=True).decode()  # type: ignore[union-attr]  # not multipart
    assert mail["Message-ID"] == f"<{actions[0]['id']}@localhost>"
    await said(daemon, "Bem-vindo, Bia! Seu cadastro está pronto.")
    (billed,) = [call for call in finance.received if call.path == "/hook/customers"]
    assert billed.headers["x-api-key"] == "finance-key"
    assert billed.json == {"customer": 7, "name": "Bia", "email": "bia@example.com", "plan": "ouro"}


async def test_a_completed_service_is_told_invoiced_and_asked_about_two_hours_later(
    daemon: Daemon, crm: Receiver, finance: Receiver
) -> None:
    client = {"id": 9, "name": "Caio", "phone": "5511988887777"}
    data = {"id": "os-1", "client": client, "service": "Corte", "amount": 80.5}
    answer = (await daemon.call("POST", "/events", {"type": "service.completed", "data": data}))[1]
    actions = await done(daemon, answer["id"], pending=1)

    await said(daemon, "Olá Caio, concluímos: Corte. Obrigado!")
    (invoice,) = [call for call in finance.received if call.path == "/hook/invoices"]
    assert invoice.json == {"customer": 9, "description": "Corte", "amount": 80.5, "reference": "os-1"}
    (updated,) = [call for call in crm.received if call.path == "/hook/clients/9"]
    assert updated.json == {"last_service": "Corte", "last_service_id": "os-1", "last_amount": 80.5}
    (asked,) = [action for action in actions if action["state"] == "pending"]
    created = (await daemon.call("GET", f"/events/{answer['id']}"))[1]["created_at"]
    assert (_ms(asked["due_at"]) - _ms(created)) // 1000 in range(7_199, 7_260)
    assert not any("Como foi" in text for text in await texts(daemon))


async def test_the_actions_of_a_flow_survive_a_kill_of_the_daemon_and_of_redis(daemon: Daemon, crm: Receiver) -> None:
    crm.open.clear()  # the CRM takes the call and does not answer
    ids = [
        (await daemon.call("POST", "/events", {"type": "lead.created", "data": {**LEAD, "id": n}}))[1]["id"]
        for n in range(100, 105)
    ]
    await daemon.kill()
    crm.open.set()
    await daemon.start()
    for event_id in ids:
        await done(daemon, event_id)
    leads = [call for call in crm.received if call.path == "/hook/leads" and call.json["external_id"] >= 100]
    assert {call.json["external_id"] for call in leads} == set(range(100, 105))
    assert len({call.headers["idempotency-key"] for call in leads}) == 5  # a call that was repeated has the same key


async def test_the_example_is_right_and_says_what_is_missing(tmp_path: Path) -> None:
    from zapd.config import load
    from zapd.errors import ConfigError

    names = ("CRM_URL", "CRM_TOKEN", "FINANCE_URL", "FINANCE_KEY", "CAMPAIGNS_URL", "SITE_SECRET")
    load(EXAMPLE, environ=dict.fromkeys(names, "https://example.com"))
    with pytest.raises(ConfigError, match=r"targets.crm: env:CRM_URL is not set"):
        load(EXAMPLE, environ=dict.fromkeys(names[1:], "https://example.com"))
    assert os.path.getsize(EXAMPLE) > 0


def _ms(text: str) -> int:
    from datetime import datetime

    at = round(datetime.fromisoformat(text).timestamp() * 1000)
    assert iso(at) == text
    return at
