"""Standing templates: files named after a type of event, for the e-mail and the WhatsApp listener.

`appointment.saved.email.txt` begins with a line `Subject: …` and an empty line; `….email.html` may stand beside it;
`appointment.saved.whatsapp.txt` is the message. A directory of the operator's goes before those that zapd brings.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from zapd.events.expressions import BadExpression, search
from zapd.events.rendering import Templates

MAX_FILE = 64 * 1024  #: bytes


class StandingTemplates:
    """Texts of the built-in listeners. Every method raises BadExpression."""

    def __init__(self, *, directory: str, email_to: str, whatsapp_to: str, connection: str, render: Templates) -> None:
        self._directory = Path(directory) if directory else None
        self._email_to = email_to
        self._whatsapp_to = whatsapp_to
        self.connection = connection
        self._render = render

    def email_address(self, context: Mapping[str, Any]) -> str:
        """Whom an event's e-mail goes to."""
        return self._found(self._email_to, context, "e-mail address", "events.email_to")

    async def email(self, name: str, context: Mapping[str, Any]) -> dict[str, str]:
        """`subject`, `text` and `html`."""
        text, html = self._text(f"{name}.email.txt"), self._text(f"{name}.email.html")
        if text is None:
            raise BadExpression(f"there is no template {name}.email.txt")
        head, _, body = text.partition("\n")
        if not head.lower().startswith("subject:"):
            raise BadExpression(f"{name}.email.txt should begin with a line `Subject: …`")
        parts = {"subject": head[len("subject:") :].strip(), "text": body.strip(), "html": html or ""}
        made = await self._render(parts, context)
        return {**made, "subject": " ".join(made["subject"].split())}

    async def whatsapp(self, name: str, context: Mapping[str, Any]) -> tuple[str, str]:
        """Number and text."""
        if not self.connection:
            raise BadExpression("no connection to send by: set [events] whatsapp_connection")
        to = self._found(self._whatsapp_to, context, "phone number", "events.whatsapp_to")
        text = self._text(f"{name}.whatsapp.txt")
        if text is None:
            raise BadExpression(f"there is no template {name}.whatsapp.txt")
        return to, (await self._render({"text": text.strip()}, context))["text"]

    def _found(self, expression: str, context: Mapping[str, Any], what: str, key: str) -> str:
        found = search(expression, context)
        if not isinstance(found, str | int) or not found:
            raise BadExpression(f"the event has no {what} where {key} looks for it")
        return str(found)

    def _text(self, name: str) -> str | None:
        places: list[Any] = [files("zapd.events") / "templates" / name]
        if self._directory is not None:
            places.insert(0, self._directory / name)
        for place in places:
            if place.is_file():
                return str(place.read_text(encoding="utf-8"))[:MAX_FILE]
        return None
