"""E-mail against a real SMTP server: what arrives, and which failures can be tried again."""

import asyncio
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.support.daemon import free_port
from zapd.events.email import Mailer, MailFailed


class Server:
    """Takes mail, or answers with `refuse`."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuse: str | None = None
        self.stall = 0.0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("unknown@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(self.stall)
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 kept as 42"


def authenticated(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ana", b"pw")
    return AuthResult(success=right, handled=False)


@pytest.fixture
def smtp() -> Iterator[tuple[Server, int]]:
    server, port = Server(), free_port()
    controller = Controller(
        server, hostname="127.0.0.1", port=port, authenticator=authenticated, auth_require_tls=False
    )
    controller.start()
    yield server, port
    controller.stop()


def mailer(port: int, **changes: Any) -> Mailer:
    given = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "", "password": "", "timeout": 5.0}
    return Mailer(**{"sender": "Clínica <clinic@example.com>", **given, **changes})


async def test_a_mail_arrives_whole(smtp: tuple[Server, int]) -> None:
    server, port = smtp
    said = await mailer(port, user="ana", password="pw").send(
        to="Bia <bia@example.com>, caio@example.com",
        subject="Olá, está confirmado",
        text="às 14h",
        html="<p>às <b>14h</b></p>",
        key="act_1",
    )
    (mail,) = server.mails
    assert "kept as 42" in said
    assert (mail["To"], mail["Subject"]) == ("Bia <bia@example.com>, caio@example.com", "Olá, está confirmado")
    assert mail["From"] == "Clínica <clinic@example.com>"
    assert mail["Message-ID"] == "<act_1@example.com>"
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]


@pytest.mark.parametrize(
    ("to", "refuse", "final"),
    [
        ("unknown@example.com", None, True),
        ("ana@example.com", "451 try later", False),
        ("ana@example.com", "554 spam", True),
        ("no address", None, True),
        ("", None, True),
        ("a@example.com\nBcc: b@example.com", None, True),
    ],
)
async def test_a_refusal_says_whether_another_try_can_help(
    smtp: tuple[Server, int], to: str, refuse: str | None, final: bool
) -> None:
    server, port = smtp
    server.refuse = refuse
    with pytest.raises(MailFailed) as caught:
        await mailer(port).send(to=to, subject="s", text="t")
    assert caught.value.final is final
    assert server.mails == []


async def test_a_server_that_is_away_wrong_or_slow_is_tried_again(smtp: tuple[Server, int]) -> None:
    server, port = smtp
    server.stall = 5.0
    for other in (
        mailer(free_port()),
        mailer(port, tls="starttls"),
        mailer(port, user="ana", password="wrong"),
        mailer(port, timeout=0.2),
    ):
        with pytest.raises(MailFailed) as caught:
            await other.send(to="ana@example.com", subject="s", text="t")
        assert not caught.value.final
        assert "wrong" not in str(caught.value)
    with pytest.raises(MailFailed, match=r"\[email\] host") as caught:
        await mailer(port, host="").send(to="ana@example.com", subject="s", text="t")
    assert caught.value.final
