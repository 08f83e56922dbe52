"""What the commands say when it is not zapd that answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import click
import pytest

from zapd.cli.client import Client


class Stranger(BaseHTTPRequestHandler):
    """Answers with what the path says: status and body."""

    def do_GET(self) -> None:
        _, status, body = self.path.split("/")
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("502/null", "the answer was 502"),
        ("502/oops", "the answer was 502"),
        ("404/5", "the answer was 404"),
        ("301/", "is not zapd: the answer was 301"),
        ("200/hello", "is not zapd: it is no JSON"),
    ],
)
def test_an_answer_that_is_not_zapds_is_told_in_words(url: str, answer: str, said: str) -> None:
    with pytest.raises(click.ClickException, match=said):
        assert Client(url=url, key="k").call("GET", f"/{answer}").data


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8470", "http://x:port", "http://x:99999", "http://", ""])
def test_what_is_no_url_is_told_in_words(url: str) -> None:
    with pytest.raises(click.ClickException, match="is no URL"):
        Client(url=url, key="k").call("GET", "/status")
