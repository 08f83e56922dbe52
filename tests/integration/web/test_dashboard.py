"""Who gets into the dashboard, and what its forms do, without a browser."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Visitor:
    """A browser without scripts: keeps its cookies, follows no redirect."""

    def __init__(self, daemon: Daemon, http: aiohttp.ClientSession) -> None:
        self.url, self.http = daemon.url, http

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, text, Location."""
        async with self.http.get(self.url + path, allow_redirects=False, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers.get("Location", "")

    async def post(self, path: str, form: dict[str, str], **headers: str) -> tuple[int, str, str]:
        """Status, text, Location."""
        async with self.http.post(self.url + path, data=form, allow_redirects=False, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers.get("Location", "")

    async def log_in(self, key: str) -> "Visitor":
        assert (await self.post("/dashboard/login", {"key": key}))[0] == 303
        return self

    async def token(self) -> str:
        found = re.search(r'name="form_token" value="(\w+)"', (await self.get("/dashboard"))[1])
        assert found is not None
        return found[1]


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(daemon: Daemon) -> AsyncIterator[Visitor]:
    jar = aiohttp.CookieJar(unsafe=True)  # a host that is an address
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Visitor(daemon, http)


async def key_with(daemon: Daemon, *scopes: str, **more: Any) -> tuple[str, str]:
    """Token and id of a new key."""
    status, created = await daemon.call("POST", "/keys", {"label": "test", "scopes": list(scopes), **more})
    assert status == 201
    return created["key"], created["id"]


async def test_without_a_login_every_page_leads_to_it(visitor: Visitor, connection: str) -> None:
    for path in ("/dashboard", "/dashboard/queues", f"/dashboard/connections/{connection}"):
        assert await visitor.get(path) == (303, "", f"/dashboard/login?next={path}")
    assert (await visitor.post("/dashboard/queues/message:send/pause", {}))[2] == "/dashboard/login"


async def test_a_wrong_key_opens_nothing(visitor: Visitor) -> None:
    status, text, _ = await visitor.post("/dashboard/login", {"key": "wrong"})
    assert (status, "This key opens nothing." in text) == (401, True)
    assert (await visitor.get("/dashboard"))[0] == 303


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "/dashboard/../keys"])
async def test_a_login_leads_to_no_other_place(visitor: Visitor, daemon: Daemon, target: str) -> None:
    status, _, location = await visitor.post("/dashboard/login", {"key": daemon.key, "next": target})
    assert (status, location) == (303, "/dashboard")


async def test_a_key_that_may_not_read_is_told_so_at_the_login(visitor: Visitor, daemon: Daemon) -> None:
    token, _ = await key_with(daemon, "send")
    status, text, _ = await visitor.post("/dashboard/login", {"key": token})
    assert status == 403
    assert "may not read" in text
    assert (await visitor.get("/dashboard"))[0] == 303


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Visitor, daemon: Daemon) -> None:
    async with visitor.http.post(
        daemon.url + "/dashboard/login", data={"key": daemon.key}, allow_redirects=False
    ) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/dashboard", "SameSite=Strict"} <= set(cookie.split("; "))


async def test_a_form_without_the_logins_token_does_nothing(visitor: Visitor, daemon: Daemon) -> None:
    await visitor.log_in(daemon.key)
    for form in ({}, {"form_token": "0" * 64}):
        assert (await visitor.post("/dashboard/queues/flow:run/pause", form))[0] == 403
    assert (
        "flow:run" not in (await daemon.call("GET", "/status"))[1]["queues"]
        or not (await daemon.call("GET", "/queues/flow:run"))[1]["paused"]
    )


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_a_form_of_another_site_does_nothing(visitor: Visitor, daemon: Daemon, headers: dict[str, str]) -> None:
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token()}
    assert (await visitor.post("/dashboard/queues/flow:run/pause", form, **headers))[0] == 403
    assert (await daemon.call("GET", "/queues/flow:run"))[1]["paused"] is False


async def test_a_key_does_only_what_its_scopes_say(visitor: Visitor, daemon: Daemon, connection: str) -> None:
    await visitor.log_in((await key_with(daemon, "read"))[0])
    _, text, _ = await visitor.get("/dashboard/queues")
    assert "formaction" not in text
    form = {"form_token": await visitor.token(), "to": "5511999998888", "text": "x"}
    assert (await visitor.post(f"/dashboard/connections/{connection}/send", form))[0] == 403
    assert (await visitor.get("/dashboard/new-connection"))[0] == 403


async def test_a_bound_key_sees_its_connection_only(visitor: Visitor, daemon: Daemon, connection: str) -> None:
    await daemon.connect(id="other", label="The other one")
    await visitor.log_in((await key_with(daemon, "read", connection_id=connection))[0])
    overview = (await visitor.get("/dashboard"))[1]
    assert "The other one" not in overview
    assert "message:send" not in overview
    assert "/dashboard/queues" not in overview
    assert (await visitor.get("/dashboard/connections/other"))[0] == 404
    assert (await visitor.get("/dashboard/queues"))[0] == 403


async def test_a_revoked_key_is_out_at_once(visitor: Visitor, daemon: Daemon) -> None:
    token, key_id = await key_with(daemon, "read")
    await visitor.log_in(token)
    assert (await visitor.get("/dashboard"))[0] == 200
    await daemon.call("DELETE", f"/keys/{key_id}")
    assert (await visitor.get("/dashboard"))[0] == 303


async def test_after_logging_out_the_cookie_opens_nothing(visitor: Visitor, daemon: Daemon) -> None:
    await visitor.log_in(daemon.key)
    cookie = next(iter(visitor.http.cookie_jar)).value
    await visitor.post("/dashboard/logout", {"form_token": await visitor.token()})
    assert (await visitor.get("/dashboard", Cookie=f"zapd-login={cookie}"))[0] == 303


async def test_closed_connections_do_not_take_the_place_of_open_ones(visitor: Visitor, daemon: Daemon) -> None:
    await daemon.connect(id="aaa-closed", label="Was here")
    await daemon.call("DELETE", "/connections/aaa-closed")
    await daemon.connect(id="zzz-open", label="Is here")
    await eventually(lambda: _is(daemon, "aaa-closed", "closed"))
    await visitor.log_in(daemon.key)
    text = (await visitor.get("/dashboard/connections"))[1]
    assert "Is here" in text
    assert "Was here" not in text


async def test_a_file_is_shown_to_whoever_may_see_its_message(
    visitor: Visitor, daemon: Daemon, connection: str
) -> None:
    _, file = await daemon.call("POST", "/media", b"%PDF-1.4 a", headers={"Content-Type": "application/pdf"})
    sent = {"to": "5511988887777", "type": "document", "payload": {"media_id": file["id"], "filename": "a.pdf"}}
    _, message = await daemon.call("POST", f"/connections/{connection}/send", sent)
    path = f"/dashboard/connections/{connection}/messages/{message['id']}/file"
    assert (await visitor.get(path))[0] == 303
    token, _ = await key_with(daemon, "read", connection_id=connection)
    await visitor.log_in(token)
    assert (await visitor.get(path))[:2] == (200, "%PDF-1.4 a")
    assert "a.pdf" in (await visitor.get(f"/dashboard/connections/{connection}/conversations/5511988887777"))[1]
    other = await daemon.connect(id="other-files")
    token, _ = await key_with(daemon, "read", connection_id=other["id"])
    await visitor.log_in(token)
    assert (await visitor.get(path))[0] == 404
    assert (await visitor.get(path.replace(connection, other["id"])))[0] == 404


async def test_a_form_sent_twice_is_one_message(visitor: Visitor, daemon: Daemon, connection: str) -> None:
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token(), "form_id": "twice", "to": "5511977776666", "text": "once"}
    for _ in range(2):
        assert (await visitor.post(f"/dashboard/connections/{connection}/send", form))[0] == 303
    found = (await daemon.call("GET", f"/connections/{connection}/messages?limit=1000"))[1]["data"]
    assert sum(m["peer"] == "5511977776666" and m["direction"] == "outbound" for m in found) == 1


async def test_a_wrong_connection_form_names_what_is_wrong_and_keeps_what_was_typed(
    visitor: Visitor, daemon: Daemon
) -> None:
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token(), "transport": "cloud", "label": "Sales", "config.waba_id": "77"}
    status, text, _ = await visitor.post("/dashboard/connections", form)
    assert status == 422
    assert "config.phone_number_id" in text
    assert 'value="Sales"' in text
    assert 'value="77"' in text


async def test_the_webhook_secret_is_shown_once_and_never_in_an_address(visitor: Visitor, daemon: Daemon) -> None:
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token(), "transport": "sandbox", "label": "hooked"}
    status, text, location = await visitor.post(
        "/dashboard/connections", {**form, "webhook_url": "http://127.0.0.1:9/hook"}
    )
    assert (status, location) == (200, "")
    assert "whsec_" in text


async def test_a_connection_is_logged_out_and_paired_again(visitor: Visitor, daemon: Daemon) -> None:
    await daemon.connect(id="relink")
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token()}

    await visitor.post("/dashboard/connections/relink/logout", form)
    await eventually(lambda: _is(daemon, "relink", "logged_out"))
    assert "/dashboard/connections/relink/pair" in (await visitor.get("/dashboard/connections/relink"))[1]
    await visitor.post("/dashboard/connections/relink/pair", form)

    await eventually(lambda: _is(daemon, "relink", "connected"))


async def test_a_connection_that_waits_for_a_person_says_what_to_do(visitor: Visitor, daemon: Daemon) -> None:
    await daemon.connect(id="advised")
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token()}
    await visitor.post("/dashboard/connections/advised/logout", form)
    await eventually(lambda: _is(daemon, "advised", "logged_out"))
    told = (await daemon.call("GET", "/connections/advised"))[1]["advice"]
    assert told == "The account is unlinked. Pair it again: its messages wait."
    page = (await visitor.get("/dashboard/connections/advised"))[1]
    assert told in page
    assert 'name="phone"' in page  # a code to type
    status, _, _ = await visitor.post("/dashboard/connections/advised/pair", {**form, "phone": "12"})
    assert status == 422
    await visitor.post("/dashboard/connections/advised/pair", {**form, "phone": "5511999998888"})
    await eventually(lambda: _is(daemon, "advised", "connected"))
    assert (await daemon.call("GET", "/connections/advised"))[1]["advice"] is None


async def _is(daemon: Daemon, connection: str, state: str) -> bool:
    return bool((await daemon.call("GET", f"/connections/{connection}"))[1]["state"] == state)


async def test_the_place_for_a_providers_webhooks_is_shown_once(visitor: Visitor, daemon: Daemon) -> None:
    await visitor.log_in(daemon.key)
    form = {"form_token": await visitor.token(), "transport": "zapi", "label": "paid"}
    for name in ("instance_id", "instance_token", "client_token"):
        form[f"config.{name}"] = "x" * 20
    status, text, _ = await visitor.post("/dashboard/connections", form)
    assert status == 200
    assert "/hooks/zapi/" in text


async def test_the_stream_sends_each_region_and_then_only_what_changed(
    visitor: Visitor, daemon: Daemon, connection: str
) -> None:
    await visitor.log_in(daemon.key)
    got: list[str] = []
    async with visitor.http.get(daemon.url + "/dashboard/queues", headers={"Accept": "text/event-stream"}) as stream:
        assert stream.content_type == "text/event-stream"
        got.append((await stream.content.readuntil(b"\n\n")).decode())
        await daemon.call("POST", "/queues/flow:run/pause")
        got.append((await stream.content.readuntil(b"\n\n")).decode())
    await daemon.call("POST", "/queues/flow:run/resume")
    assert all(frame.startswith("event: patch\n") for frame in got)
    assert got[0].count("paused") < got[1].count("paused")


async def test_pages_carry_a_strict_policy(visitor: Visitor) -> None:
    async with visitor.http.get(visitor.url + "/dashboard/login") as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in text
    assert "onclick" not in text


async def test_an_open_page_does_not_hold_up_the_stop(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with (
        Daemon(tmp_path_factory.mktemp("stop")) as daemon,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        await Visitor(daemon, http).log_in(daemon.key)
        async with http.get(daemon.url + "/dashboard", headers={"Accept": "text/event-stream"}) as stream:
            await stream.content.readuntil(b"\n\n")
            assert await daemon.stop(within=15) == 0  # the server alone would wait longer for an open answer
