"""Upload and signed links, over HTTP."""

import hashlib
from urllib.parse import urlsplit

import aiohttp
import pytest

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
