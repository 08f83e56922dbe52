"""The middleware and the answers it makes, around handlers that do what no real one should."""

from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.support.stand_in import stand_in_site
from zapd.web import dependencies as need
from zapd.web import messages

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app, token = await stand_in_site()
    async with TestClient(TestServer(app), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


async def test_a_crash_is_a_500_that_tells_nothing(client: Client) -> None:
    # The stand-in has no message store: reading the timeline crashes. The key there is may only send, so use /ready.
    answer = await client.get("/ready")
    body = await answer.json()
    assert answer.status == 500
    assert answer.content_type == "application/problem+json"
    assert body == {"type": "about:blank", "title": "Internal Server Error", "status": 500}


async def test_a_harmless_request_id_comes_back_and_others_are_replaced(client: Client) -> None:
    given = await client.get("/docs", headers={"X-Request-Id": "order-17"})
    made = await client.get("/docs", headers={"X-Request-Id": "a b\u00e9"})
    assert given.headers["X-Request-Id"] == "order-17"
    assert len(made.headers["X-Request-Id"]) == 26


async def test_a_wrong_method_says_what_is_allowed(client: Client) -> None:
    answer = await client.put("/connections")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert answer.content_type == "application/problem+json"


async def test_the_page_of_the_routes_allows_no_script_and_nothing_from_elsewhere(client: Client) -> None:
    answer = await client.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_the_document_is_served(client: Client) -> None:
    document = await (await client.get("/openapi.json")).json()
    assert document["paths"]["/connections/{connection}/send"]["post"]["summary"] == (
        (messages.send.__doc__ or "").partition("\n")[0].rstrip(".")
    )


async def test_a_client_hears_in_a_drain_that_its_connection_ends(client: Client) -> None:
    """Else its next request meets a closed line, and a POST is not repeated by itself."""
    assert "Connection" not in (await client.get("/docs")).headers
    client.app[need.DRAINING].set()
    for path in ("/docs", "/nowhere"):
        assert (await client.get(path)).headers["Connection"] == "close"


async def test_a_client_that_went_away_is_no_crash(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> bytes:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(web.Request, "read", gone)
    with structlog.testing.capture_logs() as logs:
        answer = await client.post("/connections/x/send", json={"to": "5511999998888"})
    assert answer.status == 400  # a 5xx would count as a fault of ours
    assert [line["event"] for line in logs if line["event"].startswith("request.")] == ["request.abandoned"]
