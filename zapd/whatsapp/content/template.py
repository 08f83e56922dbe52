"""Templates that Meta approved: the only messages that may open a conversation on the Cloud API."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from zapd.whatsapp.content.payload import Payload, broken, said

MAX_PARAMETERS = 100
_TEXTS = {"text": "text", "payload": "payload"}  #: parameter type → the field that it must fill


class Parameter(Payload):
    """What fills one place of a template: its type, and an object or text under that name.

    A picture, video or document is `{"url": …}` or `{"media_id": …}`; currency and date_time are Meta's own objects.
    """

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
    parameter_name: Annotated[str, said(64)] | None = None

    @model_validator(mode="after")
    def _filled(self) -> Self:
        value = (self.model_extra or {}).get(self.type)
        if self.type in _TEXTS:
            if not isinstance(value, str) or not value.strip():
                raise broken(f"needs {self.type}, a text that is not blank")
        elif not isinstance(value, dict | str) or not value:
            raise broken(f"needs {self.type}, an object")
        return self


class Component(Payload):
    """The parameters of one part of a template. A part without parameters is left out of the list."""

    type: Literal["header", "body", "button", "carousel", "limited_time_offer"]
    parameters: Annotated[list[Parameter], Field(min_length=1, max_length=MAX_PARAMETERS)] | None = None
    sub_type: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")] | None = None
    index: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}$")] | Annotated[int, Field(ge=0, le=99)] | None = None
    cards: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _filled(self) -> Self:
        if self.type == "carousel":
            if not self.cards:
                raise broken("a carousel needs cards")
        elif self.parameters is None:
            raise broken("needs parameters, 1 or more; leave a component without any out")
        if self.type == "button" and (self.sub_type is None or self.index is None):
            raise broken("a button needs sub_type and index")
        return self


def _code(language: Any) -> Any:
    """Meta's own shape, `{"code": "pt_BR"}`, is as good as the code."""
    known = isinstance(language, dict) and {"code"} <= language.keys() <= {"code", "policy"}
    return language["code"] if known else language


class TemplatePayload(Payload):
    """`components` must be there: `[]` says that the template has no places to fill."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]{2,10}$"), BeforeValidator(_code)]
    components: Annotated[list[Component], Field(max_length=20)]
