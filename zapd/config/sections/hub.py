"""The event hub."""

from typing import Annotated, Literal

from pydantic import Field

from zapd.config.sections.section import Count, Positive, Section
from zapd.config.values import (
    Directory,
    Duration,
    Integer,
    JmesPath,
    OneLine,
    Sender,
    Size,
)


class EventsConfig(Section):
    """The event hub: events from other systems, and what is done about them."""

    max_depth: Annotated[Integer, Field(ge=1, le=100)] = 8
    """Events that may come out of one another by `emit` before it is taken for a loop."""
    quarantine_rows: Count = 1_000
    """Refused inbound webhooks kept of one source; the oldest go first."""
    hook_deadline: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    """Time in which an inbound webhook's body must have come."""
    template_cpu: Annotated[Duration, Field(gt=0, le=60)] = 0.5
    """Processor time that one template may use."""
    template_output: Annotated[Size, Field(ge=1024, le=16 * 1024**2)] = 256 * 1024
    """Largest text that one template may make."""
    templates: Directory = ""
    """Directory with templates of your own for the e-mail and WhatsApp listeners; "" takes those that zapd brings."""
    email_to: JmesPath = "data.email || data.customer.email || data.client.email"
    """Where the e-mail listener finds the address in an event (JMESPath)."""
    whatsapp_to: JmesPath = "data.phone || data.customer.phone || data.client.phone"
    """Where the WhatsApp listener finds the number in an event (JMESPath)."""
    whatsapp_connection: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,63})?$")] = ""
    """Connection that the WhatsApp listener sends by."""
    selftest_events: Annotated[Integer, Field(ge=1, le=10_000)] = 500
    """Stored events that the weekly self-test runs through the rules, without doing anything."""


class EmailConfig(Section):
    """The mail server for e-mail actions and the e-mail listener."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]*$")] = ""
    """Name or address of the SMTP server; "" means that no e-mail can be sent."""
    port: Annotated[Integer, Field(ge=1, le=65_535)] = 587
    """Its port."""
    tls: Literal["none", "starttls", "tls"] = "starttls"
    """"starttls" upgrades the connection, "tls" speaks TLS from the start, "none" is for a server on this machine."""
    user: OneLine = ""
    """User name; "" means no login."""
    password: str = Field(default="", repr=False)
    """Password of that user."""
    from_: Sender = Field(default="zapd <zapd@localhost>", alias="from")
    """The From address."""
    timeout: Positive = 10.0
    """Time for one e-mail in all."""
