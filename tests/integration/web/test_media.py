"""Upload and signed links, over HTTP."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.kinds import CONTENTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIME, JPEG = CONTENTS["image"]
FORM = "form-data; name="
BIG = JPEG + bytes(2 * 1024 * 1024)  # over body_limit, which is for JSON


async def upload(daemon: Daemon, content: bytes = JPEG, mime: str = MIME, query: str = "") -> dict[str, object]:
    status, body = await daemon.call("POST", f"/media{query}", content, headers={"Content-Type": mime})
    assert status == 201, body
    answer: dict[str, object] = body
    return answer


async def link(daemon: Daemon, media_id: object) -> str:
    _, body = await daemon.call("GET", f"/media/{media_id}/link")
    parts = urlsplit(body["url"])
    assert f"{parts.scheme}://{parts.netloc}" == daemon.url
    return f"{parts.path}?{parts.query}"


async def read(daemon: Daemon, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Without a key."""
    async with aiohttp.ClientSession() as http, http.get(daemon.url + path, headers=headers) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


async def test_a_body_is_kept_and_its_link_needs_no_key(daemon: Daemon) -> None:
    made = await upload(daemon, BIG, query="?filename=cat.jpg")
    assert made == {
        "id": made["id"],
        "sha256": hashlib.sha256(BIG).hexdigest(),
        "mime": MIME,
        "size": len(BIG),
        "filename": "cat.jpg",
    }
    path = await link(daemon, made["id"])
    status, content, headers = await read(daemon, path)
    assert (status, content) == (200, BIG)
    assert (headers["Content-Type"], headers["Content-Disposition"]) == (MIME, 'inline; filename="cat.jpg"')
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (await read(daemon, path, Range="bytes=0-2"))[:2] == (206, b"\xff\xd8\xff")
    async with aiohttp.ClientSession() as http, http.head(daemon.url + path) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(BIG)))


async def test_a_form_works_too(daemon: Daemon) -> None:
    form = aiohttp.FormData()
    form.add_field("note", "x")
    form.add_field("file", JPEG, content_type=MIME, filename="cat.jpg")
    async with aiohttp.ClientSession() as http:
        head = {"Authorization": f"Bearer {daemon.key}"}
        async with http.post(f"{daemon.url}/media", data=form, headers=head) as answer:
            assert answer.status == 201
            made = await answer.json()
    assert (made["mime"], made["filename"]) == (MIME, "cat.jpg")


async def test_a_link_that_was_changed_or_is_old_opens_nothing(daemon: Daemon) -> None:
    path = await link(daemon, (await upload(daemon))["id"])
    other = (await upload(daemon, JPEG + b"other"))["id"]
    query = path.partition("?")[2]
    for wrong in (path[:-1] + ("0" if path[-1] != "0" else "1"), path.partition("?")[0], f"/media/{other}?{query}"):
        assert (await read(daemon, wrong))[0] == 403, wrong


async def test_a_page_is_only_ever_saved(daemon: Daemon) -> None:
    """A stranger's script must not run on the dashboard's address."""
    made = await upload(daemon, b"<html><script>alert(1)</script>", "text/html")
    _, _, headers = await read(daemon, await link(daemon, made["id"]))
    assert headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("content", "mime", "query", "status"),
    [
        (b"", MIME, "", 422),
        (JPEG, "multipart/form-data", "", 422),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", "", 422),
        (JPEG, MIME, "?filename=..%2Fa", 422),
        (JPEG, MIME, "?name=a", 422),
    ],
    ids=["empty", "no-boundary", "no-file", "path", "unknown-query"],
)
async def test_a_bad_upload_is_explained(daemon: Daemon, content: bytes, mime: str, query: str, status: int) -> None:
    answered, body = await daemon.call("POST", f"/media{query}", content, headers={"Content-Type": mime})
    assert (answered, body["status"]) == (status, status)
    assert body["errors"] or body["detail"]


async def test_an_upload_is_sent_and_reaches_the_network(daemon: Daemon, connection: str) -> None:
    made = await upload(daemon)
    body = {"to": "5511999998888", "type": "image", "payload": {"media_id": made["id"]}}
    status, sent = await daemon.call("POST", f"/connections/{connection}/send", body)
    assert status == 202, sent
    body["payload"] = {"media_id": "med_none"}
    status, refused = await daemon.call("POST", f"/connections/{connection}/send", body)
    assert (status, refused["errors"][0]["field"]) == (422, "payload.media_id")


async def test_a_file_is_deleted_and_its_link_opens_nothing(daemon: Daemon) -> None:
    made = await upload(daemon)
    path = await link(daemon, made["id"])
    assert (await daemon.call("DELETE", f"/media/{made['id']}"))[0] == 204
    assert (await read(daemon, path))[0] == 404
    for method, where in (("GET", "/link"), ("DELETE", "")):
        assert (await daemon.call(method, f"/media/{made['id']}{where}"))[0] == 404


async def test_a_file_that_a_waiting_message_needs_stays(daemon: Daemon, connection: str) -> None:
    made = await upload(daemon)
    later = {
        "to": "5511999998888",
        "type": "image",
        "payload": {"media_id": made["id"]},
        "send_at": "2099-01-01T00:00Z",
    }
    _, sent = await daemon.call("POST", f"/connections/{connection}/send", later)
    status, problem = await daemon.call("DELETE", f"/media/{made['id']}")
    assert (status, "a message that waits needs it" in problem["detail"]) == (409, True)
    assert (await daemon.call("DELETE", f"/messages/{sent['id']}"))[0] == 200
    assert (await daemon.call("DELETE", f"/media/{made['id']}"))[0] == 204


async def test_a_bound_key_knows_nothing_of_another_connections_files(daemon: Daemon, connection: str) -> None:
    other = "other-files"
    await daemon.connect(id=other)
    made = await upload(daemon)
    wrote = {"from": "5511977776666", "type": "image", "payload": {"media_id": made["id"]}}
    assert (await daemon.call("POST", f"/sandbox/{other}/inbound", wrote))[0] == 202

    async def came() -> str | None:
        _, page = await daemon.call("GET", f"/connections/{other}/messages?direction=inbound")
        found = [message["payload"]["media_id"] for message in page["data"]]
        ready = found and (await daemon.call("GET", f"/media/{found[0]}/link"))[1]["state"] == "ready"
        return str(found[0]) if ready else None

    theirs = await eventually(came)
    body = {"label": "x", "scopes": ["read", "send", "control"], "connection_id": connection}
    _, key = await daemon.call("POST", "/keys", body)
    headers = {"Authorization": f"Bearer {key['key']}"}

    async def tried(media_id: object, path: str = "send", **more: object) -> tuple[int, Any]:
        message = {"to": "5511999998888", "type": "image", "payload": {"media_id": media_id}}
        body = {"messages": [message]} if path == "send/bulk" else message
        return await daemon.call("POST", f"/connections/{connection}/{path}", body, headers=headers)

    named, unknown = await tried(theirs), await tried("med_none")
    assert named[0] == unknown[0] == 422
    assert named[1]["errors"] == [{"field": "payload.media_id", "rule": f"there is no file {theirs}"}]
    _, results = await tried(theirs, "send/bulk")
    assert results["data"][0]["errors"][0]["rule"] == f"there is no file {theirs}"
    for method, where in (("GET", "/link"), ("DELETE", "")):
        assert (await daemon.call(method, f"/media/{theirs}{where}", headers=headers))[0] == 404
    assert (await tried(made["id"]))[0] == 202  # an upload is the tenant's
    _, anybody = await daemon.call(
        "POST",
        f"/connections/{connection}/send",
        {"to": "5511999998888", "type": "image", "payload": {"media_id": theirs}},
    )
    assert anybody["status"] == "queued"  # a key of the whole tenant may pass it on
