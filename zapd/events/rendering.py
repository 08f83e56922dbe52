"""What an action will send, made of the event: one function for each kind. No input or output but templates."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson

from zapd.config.hub import Action, Deliver, Email, Emit, Enqueue, Listen, Notify, Send, StartSync
from zapd.events.expressions import BadExpression

MAX_PAYLOAD = 1024 * 1024  #: bytes

Templates = Callable[[Mapping[str, str], Any], Awaitable[dict[str, str]]]


class Rendered(NamedTuple):
    """Where it goes, and what."""

    place: str
    payload: dict[str, Any]


async def render(
    action: Action, value: Any, context: Mapping[str, Any], *, templates: Templates, seal: Callable[[str], str]
) -> Rendered:
    """`value` is what the action's mapping made; without one, the event. Raises BadExpression."""
    match action:
        case Deliver():
            rendered = await _deliver(action, value, context, templates)
        case Send():
            rendered = await _send(action, _seen(action, value, context), templates)
        case Email():
            rendered = await _email(action, _seen(action, value, context), templates)
        case Notify():
            text = await templates({"text": action.text}, _seen(action, value, context))
            rendered = Rendered("slack", {"url": seal(action.url), **text})
        case Enqueue():
            payload = {"kind": action.job_kind, "priority": action.priority, "payload": value}
            rendered = Rendered(action.queue, payload)
        case Emit():
            data = value if action.mapping else context["data"]
            rendered = Rendered(action.type, {"data": data})
        case Listen():
            rendered = Rendered(action.name, {"name": action.name})
        case StartSync():
            rendered = Rendered(action.sync, {})
        case _:
            raise BadExpression(f"{action.__class__.__name__} cannot be done yet")
    _check_size(rendered)
    return rendered


def _seen(action: Action, value: Any, context: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a template sees: the event, and what the mapping made as `mapped`."""
    return {**context, "mapped": value} if action.mapping else context


async def _deliver(action: Deliver, value: Any, context: Mapping[str, Any], templates: Templates) -> Rendered:
    if action.endpoint is not None:
        return Rendered(f"endpoint:{action.endpoint}", {"endpoint": action.endpoint})
    path = (await templates({"path": action.path}, _seen(action, value, context)))["path"]
    body = {"text": value} if isinstance(value, str) else {"json": value}
    payload = {"method": action.method, "path": path, "headers": action.headers, **body}
    return Rendered(action.target or "", payload)


async def _send(action: Send, context: Mapping[str, Any], templates: Templates) -> Rendered:
    texts = {"connection": action.connection, "to": action.to}
    if action.payload is None:
        made = await templates({**texts, "text": action.text}, context)
        payload: Any = {"text": made["text"]}
    else:
        leaves = dict(_leaves(action.payload, "payload"))
        made = await templates({**texts, **leaves}, context)
        payload = _filled(action.payload, "payload", made)
    to = made["to"].strip()
    sent = {"connection": made["connection"].strip(), "to": to, "type": action.type, "payload": payload}
    return Rendered(sent["connection"], sent)


async def _email(action: Email, context: Mapping[str, Any], templates: Templates) -> Rendered:
    texts = {"to": action.to, "subject": action.subject, "text": action.text, "html": action.html}
    made = await templates({name: text for name, text in texts.items() if text}, context)
    to = " ".join(made["to"].split())
    named = {"template": action.template} if action.template else {}
    return Rendered("email", {**made, "to": to, "subject": " ".join(made.get("subject", "").split()), **named})


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    """Every text in a value, by its path."""
    if isinstance(value, str):
        return [(path, value)]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [leaf for key, item in pairs for leaf in _leaves(item, f"{path}.{key}")]


def _filled(value: Any, path: str, made: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return made[path]
    if isinstance(value, dict):
        return {key: _filled(item, f"{path}.{key}", made) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, f"{path}.{i}", made) for i, item in enumerate(value)]
    return value


def _check_size(rendered: Rendered) -> None:
    try:
        size = len(orjson.dumps(rendered.payload))
    except orjson.JSONEncodeError as error:
        raise BadExpression(f"gives what cannot be written as JSON: {error}") from None
    if size > MAX_PAYLOAD:
        raise BadExpression(f"gives more than {MAX_PAYLOAD} bytes")
