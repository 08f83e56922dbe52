"""Interactive messages, in Meta's own shapes (wire facts §1.2). A file in a header is `url` or `media_id`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from zapd.whatsapp.content.payload import File, Payload, Url, broken, said

MAX_ROWS = 10  #: in all sections together


class Body(Payload):
    """What a message says."""

    text: Annotated[str, said(1024)]


class LongBody(Payload):
    """What a list says."""

    text: Annotated[str, said(4096)]


class Footer(Payload):
    """Small print."""

    text: Annotated[str, said(60)]


class TextHeader(Payload):
    """A title."""

    type: Literal["text"]
    text: Annotated[str, said(60)]


class Header(Payload):
    """A title: text or a file."""

    type: Literal["text", "image", "video", "document"]
    text: Annotated[str, said(60)] | None = None
    image: File | None = None
    video: File | None = None
    document: File | None = None

    @model_validator(mode="after")
    def _filled(self) -> Self:
        given = [name for name in ("text", "image", "video", "document") if getattr(self, name) is not None]
        if given != [self.type]:
            raise broken(f"needs {self.type} and nothing else beside type")
        return self


class Interactive(Payload):
    """What they have in common."""

    type: str
    footer: Footer | None = None


class Reply(Payload):
    """A button's id, which comes back when it is tapped, and its label."""

    id: Annotated[str, said(256)]
    title: Annotated[str, said(20)]


class Button(Payload):
    """One button."""

    type: Literal["reply"]
    reply: Reply


class Buttons(Payload):
    """Up to three."""

    buttons: Annotated[list[Button], Field(min_length=1, max_length=3)]

    @field_validator("buttons")
    @classmethod
    def _differ(cls, buttons: list[Button]) -> list[Button]:
        _distinct([button.reply.id for button in buttons])
        return buttons


class ButtonsInteractive(Interactive):
    """Reply buttons."""

    header: Header | None = None
    body: Body
    action: Buttons


class Row(Payload):
    """One line of a list."""

    id: Annotated[str, said(200)]
    title: Annotated[str, said(24)]
    description: Annotated[str, said(72)] | None = None


class Section(Payload):
    """Lines under a title; the title may miss where there is only one section."""

    title: Annotated[str, said(24)] | None = None
    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]


class Rows(Payload):
    """`button` opens the list."""

    button: Annotated[str, said(20)]
    sections: Annotated[list[Section], Field(min_length=1, max_length=10)]

    @field_validator("sections")
    @classmethod
    def _fit(cls, sections: list[Section]) -> list[Section]:
        ids = [row.id for section in sections for row in section.rows]
        if len(ids) > MAX_ROWS:
            raise broken(f"at most {MAX_ROWS} rows in all sections together, not {len(ids)}")
        if len(sections) > 1 and any(section.title is None for section in sections):
            raise broken("every section needs a title where there is more than one")
        _distinct(ids)
        return sections


class ListInteractive(Interactive):
    """A list to choose from."""

    header: TextHeader | None = None
    body: LongBody
    action: Rows


class Link(Payload):
    """A button that opens a page."""

    display_text: Annotated[str, said(20)]
    url: Url


class OpenLink(Payload):
    """The page to open."""

    name: Literal["cta_url"]
    parameters: Link


class LinkInteractive(Interactive):
    """A button with a link."""

    header: Header | None = None
    body: Body
    action: OpenLink


class AskLocation(Payload):
    """The only action there is."""

    name: Literal["send_location"]


class AskLocationInteractive(Payload):
    """Asks for the contact's location."""

    type: str
    body: Body
    action: AskLocation


class OpenInteractive(Interactive):
    """A kind whose action zapd hands on as it is."""

    header: Header | None = None
    body: Body | None = None
    action: Annotated[dict[str, Any], Field(min_length=1)]


#: By `payload.type`. In a transport's capabilities each has the name `interactive.<kind>`.
INTERACTIVE: Mapping[str, type[Payload]] = {
    "button": ButtonsInteractive,
    "list": ListInteractive,
    "cta_url": LinkInteractive,
    "location_request_message": AskLocationInteractive,
    **dict.fromkeys(["flow", "product", "product_list", "catalog_message", "contact_request"], OpenInteractive),
}


def _distinct(ids: list[str]) -> None:
    if len(set(ids)) != len(ids):
        raise broken("ids must differ from each other")
