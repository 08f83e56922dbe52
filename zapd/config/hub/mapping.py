"""Named transformations."""

from pydantic import Field, model_validator

from zapd.config.hub.spec import Expression, Short, Spec, Template


class MappingSpec(Spec):
    """A named transformation: JMESPath for JSON, or a sandboxed Jinja2 template for text."""

    jmespath: Expression = ""
    jinja2: Template = ""
    json_: bool = Field(default=False, alias="json", description="the template's text is JSON")
    note: Short = ""

    @model_validator(mode="after")
    def _one(self) -> "MappingSpec":
        if bool(self.jmespath) == bool(self.jinja2):
            raise ValueError("give either `jmespath` or `jinja2`")
        return self
