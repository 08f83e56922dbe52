"""Templates and schemas in their child process: what they give, and that nothing they do holds up the daemon."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from zapd.events.evaluator import Evaluator
from zapd.events.expressions import BadExpression


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    evaluator = Evaluator(cpu=0.3, output=10_000, environ=os.environ)
    yield evaluator
    await evaluator.close()


async def test_templates_are_rendered_with_the_event(evaluator: Evaluator) -> None:
    made = await evaluator.render({"a": "Olá {{ data.name|title }}", "b": "plain"}, {"data": {"name": "ana"}})
    assert made == {"a": "Olá Ana", "b": "plain"}


async def test_what_an_event_says_is_no_markup_in_html_and_no_other_path(evaluator: Evaluator) -> None:
    hostile = {"data": {"name": "<b>&", "id": "a/b c?d", "n": 7}}
    templates = {
        "html": "<p>{{ data.name }}{{ data.name|safe }}</p>",
        "path": "/x/{{ data.id }}/{{ data.n }}?q={{ data.name|urlencode }}&raw={{ 'a/b'|safe }}",
        "text": "{{ data.name }}",
    }
    assert await evaluator.render(templates, hostile) == {
        "html": "<p>&lt;b&gt;&amp;<b>&</p>",
        "path": "/x/a%2Fb%20c%3Fd/7?q=%3Cb%3E%26&raw=a/b",
        "text": "<b>&",
    }


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "processor time"),
        ("{% for a in range(9999) %}xxxxxxxxxx{% endfor %}", "more than 10000"),
        (
            "{% set n = namespace(x='ab') %}{% for a in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
            "memory|more than 10000",
        ),
        ("{{ 'a' * 99999999999 }}", "memory|more than 10000"),
        ("{{ data.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "unsafe"),
        ("{{ data.missing }}", "no attribute 'missing'"),
        ("{% if %}", "line 1"),
        ("{{ data.update({'a': 1}) }}", "not callable|unsafe|safely"),
        ("{{ 1 / 0 }}", "division"),
    ],
)
async def test_a_runaway_or_hostile_template_ends_with_a_reason(evaluator: Evaluator, template: str, why: str) -> None:
    with pytest.raises(BadExpression, match=why):
        await evaluator.render({"text": template}, {"data": {}})
    assert await evaluator.render({"text": "{{ 1 + 1 }}"}, {}) == {"text": "2"}  # the next one finds all as before


async def test_a_schema_names_what_does_not_fit_and_shows_no_value(evaluator: Evaluator) -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"phone": {"type": "string", "maxLength": 3}}}
    assert await evaluator.validate(schema, {"id": 1, "phone": "12"}) == []
    problems = await evaluator.validate(schema, {"phone": "5511999998888"})
    assert sorted(problems) == ['body: required ["id"]', "phone: maxLength 3"]


async def test_a_schema_with_a_regular_expression_that_never_ends_is_stopped(evaluator: Evaluator) -> None:
    with pytest.raises(BadExpression):
        await evaluator.validate({"type": "string", "pattern": "^(a+)+$"}, "a" * 40 + "!")


async def test_a_schema_that_is_none_is_refused_and_no_reference_is_fetched(evaluator: Evaluator) -> None:
    with pytest.raises(BadExpression):
        await evaluator.validate({"type": "nonsense"}, 1)
    with pytest.raises(BadExpression, match=r"Unresolvable|PointerToNowhere|_Wrapped"):
        await evaluator.validate({"$ref": "http://127.0.0.1:9/x.json"}, 1)


async def test_the_loop_goes_on_while_a_template_runs_away(evaluator: Evaluator) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(BadExpression):
        await evaluator.render(
            {"t": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"}, {}
        )
    ticking.cancel()
    assert ticks > 5


async def test_a_child_that_was_killed_is_replaced(evaluator: Evaluator) -> None:
    await evaluator.render({"t": "{{ 1 }}"}, {})
    assert evaluator._child is not None
    evaluator._child.kill()
    await evaluator._child.wait()
    assert await evaluator.render({"t": "{{ 2 }}"}, {}) == {"t": "2"}


async def test_the_child_sees_no_secret_of_the_environment() -> None:
    evaluator = Evaluator(cpu=0.3, output=100, environ={**os.environ, "SECRET": "x"})
    assert "SECRET" not in evaluator._environ
