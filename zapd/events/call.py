"""An inbound webhook as it came, and what its body says. Pure; a refusal names the check and nothing of a secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import orjson

from zapd.errors import ZapdError

MAX_DEPTH = 100  #: levels of a body
MAX_FORM_FIELDS = 1_000


class Rejected(ZapdError):
    """The call is refused. `check` says which check failed; the text is for the operator, `hint` for the caller."""

    def __init__(self, check: str, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.check = check
        self.hint = hint or detail


@dataclass(frozen=True)
class Call:
    """One call. Header names are in lower case, in the order in which they came."""

    headers: tuple[tuple[str, str], ...]
    query: Mapping[str, str]
    raw: bytes
    remote: str

    def header(self, name: str) -> str:
        """The one value of a header; empty when it is not there. Raises Rejected when it came twice."""
        found = [value for key, value in self.headers if key == name.lower()]
        if len(found) > 1:  # two parsers may read two different ones: a known way around a check
            raise Rejected("headers", f"the header {name} came more than once")
        return found[0] if found else ""

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @cached_property
    def body(self) -> Any:
        """What the body says: JSON, or a form as an object. Raises Rejected."""
        kind = self.content_type
        if kind == "application/x-www-form-urlencoded":
            return self._form()
        if kind not in ("", "text/plain") and not kind.endswith("json"):
            raise Rejected("content-type", "the body must be JSON or a form")
        try:
            found = orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            raise Rejected("json", "the body is not JSON in UTF-8") from None
        if _deeper_than(found, MAX_DEPTH):
            raise Rejected("json", f"the body is nested deeper than {MAX_DEPTH} levels")
        return found

    def _form(self) -> Any:
        try:
            pairs = parse_qsl(self.raw.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError:
            raise Rejected("form", "the body is not a form in UTF-8") from None
        return dict(pairs)

    @property
    def seen(self) -> dict[str, Any]:
        """What expressions see: `body`, `headers` (the first of each name), `query`."""
        return {"body": self.body, "headers": dict(reversed(self.headers)), "query": dict(self.query)}


#: What a header's name holds when its value is a secret or a proof.
_SECRET_PARTS = ("auth", "token", "secret", "signature", "hmac", "key", "cookie", "password", "credential")


def redacted(headers: tuple[tuple[str, str], ...], hidden: str = "") -> str:
    """The headers as JSON for people: values of secrets are `***`. `hidden` names one more."""
    shown = {
        name: "***" if name == hidden.lower() or any(part in name for part in _SECRET_PARTS) else value[:500]
        for name, value in headers
    }
    return json.dumps(shown, ensure_ascii=False)


def _deeper_than(value: Any, levels: int) -> bool:
    """Level by level, without recursion: the depth is the caller's choice."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True
