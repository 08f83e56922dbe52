"""What the forms do. Each ends with a redirect to the page that shows the result."""

import hashlib
from urllib.parse import quote

from aiohttp import web
from pydantic import ValidationError

from zapd.errors import InvalidInput
from zapd.messaging.submit import Submit
from zapd.web import bodies, connections, problems, queues
from zapd.web import dependencies as need
from zapd.web.auth import key_of
from zapd.web.dashboard import guard, pages, render
from zapd.whatsapp.numbers import phone_number


async def create(request: web.Request) -> web.Response:
    """Make a connection."""
    form = await _words(request)
    config = {name[7:]: value for name, value in form.items() if name.startswith("config.") and value}
    body: dict[str, object] = {
        "transport": form.get("transport", ""),
        "label": form.get("label", ""),
        "webhook_url": form.get("webhook_url") or None,
        "config": config,
    }
    try:
        created = await connections.made(request, _parsed(body))
    except InvalidInput as error:
        shown = pages.new_form(request, transport=form.get("transport"), problem=str(error), given=form)
        return render.page(request, "new_connection.html", {**guard.shared(request), **shown}, 422)
    hook_path = connections.hook_path(created.connection)
    if created.webhook_secret is None and hook_path is None:
        return to(f"/dashboard/connections/{created.connection.id}")
    # A secret is never in an address, so this one form answers with a page.
    shown_once = {
        "connection_id": created.connection.id,
        "secret": created.webhook_secret,
        "hook_path": hook_path,
    }
    return render.page(request, "secret.html", {**guard.shared(request), **shown_once})


async def pause(request: web.Request) -> web.Response:
    """Pause a connection."""
    connection = await connections.existing(request)
    await request.app[need.SESSIONS].pause(connection.tenant, connection.id)
    return to(f"/dashboard/connections/{connection.id}")


async def resume(request: web.Request) -> web.Response:
    """Resume a connection, or start it again."""
    connection = await connections.existing(request)
    await request.app[need.SESSIONS].resume(connection.tenant, connection.id)
    return to(f"/dashboard/connections/{connection.id}")


async def pair(request: web.Request) -> web.Response:
    """Pair a connection: by a code to scan or, with its phone's number, one to type there."""
    connection = await connections.existing(request)
    given = (await _words(request)).get("phone", "").strip()
    phone = phone_number(given, field="phone") if given else None
    await request.app[need.SESSIONS].pair(connection.tenant, connection.id, phone=phone)
    return to(f"/dashboard/connections/{connection.id}")


async def logout(request: web.Request) -> web.Response:
    """Unlink the account from zapd."""
    connection = await connections.existing(request)
    await request.app[need.SESSIONS].logout(connection.tenant, connection.id)
    return to(f"/dashboard/connections/{connection.id}")


async def close(request: web.Request) -> web.Response:
    """Close a connection for good."""
    connection = await connections.existing(request)
    await request.app[need.SESSIONS].close(connection.tenant, connection.id)
    return to("/dashboard/connections")


async def send(request: web.Request) -> web.Response:
    """Send a text. The form's own id makes a double click harmless."""
    form = await _words(request)
    key, connection_id = key_of(request), request.match_info["connection"]
    peer, text, form_id = form.get("to", "").strip(), form.get("text", ""), form.get("form_id", "")[:64]
    await request.app[need.MESSAGING].submit(
        Submit(
            tenant=key.tenant,
            connection_id=connection_id,
            to=peer,
            type="text",
            payload=bodies.as_json({"text": text}),
            idempotency_key=f"form-{form_id}" if form_id else None,
            fingerprint=hashlib.sha256(f"{peer}\n{text}".encode()).digest() if form_id else None,
        )
    )
    where = request.match_info.get("peer")
    path = f"/dashboard/connections/{quote(connection_id)}"
    return to(path if where is None else f"{path}/conversations/{quote(where)}")


async def pause_queue(request: web.Request) -> web.Response:
    """Pause a queue."""
    await request.app[need.CONTROLS].pause(queues.existing(request))
    return to("/dashboard/queues")


async def resume_queue(request: web.Request) -> web.Response:
    """Resume a queue."""
    await request.app[need.CONTROLS].pause(queues.existing(request), paused=False)
    return to("/dashboard/queues")


def to(path: str) -> web.Response:
    """Go on to this page."""
    return web.Response(status=303, headers={"Location": path, **render.HEADERS})


async def _words(request: web.Request) -> dict[str, str]:
    form = await request.post()  # read by `guard.check_form` already
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _parsed(body: dict[str, object]) -> bodies.CreateConnection:
    try:
        return bodies.CreateConnection.model_validate(body)
    except ValidationError as error:
        raise problems.of_validation(error) from None
