"""The templates that zapd brings: whole data and little data both give a text; an operator's own go before them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from zapd.events.evaluator import Evaluator
from zapd.events.expressions import BadExpression
from zapd.events.standing_templates import StandingTemplates

WHOLE = {
    "customer": {"name": "Ana", "email": "ana@example.com", "phone": "5511999998888"},
    "appointment": {"service": "Corte", "date": "12/12", "time": "14h", "professional": "Bia", "place": "Rua A, 1"},
}


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    evaluator = Evaluator(cpu=1.0, output=10_000, environ=os.environ)
    yield evaluator
    await evaluator.close()


def standing(evaluator: Evaluator, directory: str = "", connection: str = "main") -> StandingTemplates:
    return StandingTemplates(
        directory=directory,
        email_to="data.email || data.customer.email",
        whatsapp_to="data.phone || data.customer.phone",
        connection=connection,
        render=evaluator.render,
    )


@pytest.mark.parametrize(
    ("event", "word"), [("saved", "confirmado"), ("updated", "alterado"), ("deleted", "cancelado")]
)
@pytest.mark.parametrize("data", [WHOLE, {"name": "Ana", "phone": "55119", "service": "Corte"}, {"phone": "55119"}])
async def test_appointments_have_ready_texts(evaluator: Evaluator, event: str, word: str, data: Any) -> None:
    context = {"type": f"appointment.{event}", "data": data}
    mail = await standing(evaluator).email(f"appointment.{event}", context)
    to, text = await standing(evaluator).whatsapp(f"appointment.{event}", context)
    assert word in mail["subject"]
    assert word in mail["text"]
    assert word in text
    assert "{" not in mail["subject"] + mail["text"] + text
    assert to in ("5511999998888", "55119")
    if data is WHOLE:
        assert "Corte" in mail["subject"]
        assert text.startswith("Olá, Ana! Seu atendimento")
        assert "*Corte*, 12/12 às 14h, em Rua A, 1." in text


async def test_an_operators_own_template_goes_before(evaluator: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "order.paid.email.txt").write_text("Subject: Pago {{ data.n }}\n\nObrigado {{ data.n }}\n")
    (tmp_path / "order.paid.email.html").write_text("<b>{{ data.n }}</b>")
    made = await standing(evaluator, str(tmp_path)).email("order.paid", {"data": {"n": 7}})
    assert made == {"subject": "Pago 7", "text": "Obrigado 7", "html": "<b>7</b>"}


async def test_what_is_missing_is_named(evaluator: Evaluator) -> None:
    with pytest.raises(BadExpression, match=r"order\.paid\.email\.txt"):
        await standing(evaluator).email("order.paid", {"data": {}})
    with pytest.raises(BadExpression, match=r"events\.whatsapp_to"):
        await standing(evaluator).whatsapp("appointment.saved", {"data": {}})
    with pytest.raises(BadExpression, match="whatsapp_connection"):
        await standing(evaluator, connection="").whatsapp("appointment.saved", {"data": WHOLE})
    with pytest.raises(BadExpression, match=r"events\.email_to"):
        standing(evaluator).email_address({"data": {}})
