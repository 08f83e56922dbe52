"""Talks HTTP to the running daemon. The standard library does: a command makes one or two requests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

TIMEOUT = 30.0  #: seconds


@dataclass(frozen=True)
class Answer:
    """What the daemon said."""

    status: int
    body: bytes

    @property
    def data(self) -> Any:
        """The JSON of the answer."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            raise click.ClickException(f"what answers is not zapd: it is no JSON (status {self.status})") from None


class Client:
    """The daemon at `url`, opened with `key`."""

    def __init__(self, *, url: str, key: str, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout

    def patient(self, seconds: float) -> "Client":
        """The same, for calls that take so long."""
        return Client(url=self._url, key=self._key, timeout=seconds)

    def call(
        self,
        method: str,
        path: str | Sequence[str],
        body: Any = None,
        *,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One request; a body of bytes goes as it is. Query parameters of None are left out.

        Fails with the daemon's own words. A path in parts may hold slashes in one of them.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        where = quote(path) if isinstance(path, str) else "".join(f"/{quote(part, safe='')}" for part in path)
        target = where + (f"?{urlencode(given)}" if given else "")
        sent = {"Authorization": f"Bearer {self._key}", "Accept": accept, "Content-Type": "application/json"}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._exchange(method, target, content, sent | dict(headers or {}))
        if answer.status >= 400:
            raise click.ClickException(_explained(answer))
        if answer.status >= 300:
            raise click.ClickException(f"what answers at {self._url} is not zapd: the answer was {answer.status}")
        return answer

    def _exchange(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        try:
            where = urlsplit(self._url)
            port = where.port
        except ValueError as error:
            raise click.ClickException(f"{self._url} is no URL: {error}") from None
        if where.scheme not in ("http", "https") or not where.hostname:
            raise click.ClickException(f"{self._url} is no URL such as http://127.0.0.1:8470")
        kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
        connection = kind(where.hostname, port, timeout=self._timeout)
        try:
            connection.request(method, where.path.rstrip("/") + target, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except (OSError, HTTPException) as error:
            raise click.ClickException(f"zapd does not answer at {self._url}: {error}") from None
        finally:
            connection.close()


def read_key(given: str | None, state: Path) -> str:
    """The key to use: what was given, else the admin key that the daemon wrote into its state directory."""
    if given:
        return given
    try:
        return (state / "admin.key").read_text().strip()
    except OSError as error:
        raise click.ClickException(
            f"no key: set ZAPD_API_KEY, or let {state / 'admin.key'} be readable ({error.strerror})"
        ) from None


def _explained(answer: Answer) -> str:
    try:
        problem = json.loads(answer.body)
        fields = [f"{e['field']}: {e['rule']}" for e in problem.get("errors", [])]
        return f"{problem['title']}: " + ("; ".join(fields) or problem.get("detail", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the answer was {answer.status}"
