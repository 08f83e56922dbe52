"""Who wants events."""

from typing import Any, Literal

from pydantic import Field

from zapd.model.webhook import BodyFormat
from zapd.web.bodies.body import Body, Id, Moment
from zapd.webhooks.endpoints import OVERLAP


class EndpointOptions(Body):
    """How an endpoint wants its events. Expressions are JMESPath over the event as it is delivered.

    What each may be is checked in `zapd.webhooks`.
    """

    channels: list[str] | None = Field(
        default=None, description="only events of these connections, or with one of these in `data.channels`"
    )
    filter: str | None = Field(default=None, description="only events for which this holds")
    transform: str | None = Field(default=None, description="its result is the body")
    order_by: str | None = Field(
        default=None, description="events with the same result go one after another, such as `connection_id`"
    )
    rate_per_minute: int | None = None
    concurrency: int | None = Field(default=None, description="POSTs at once")
    batch_size: int | None = Field(default=None, description="so many events in one POST at most")
    batch_wait: float | None = Field(default=None, description="seconds that the oldest event waits for company")

    def options(self) -> dict[str, Any]:
        """Those that were given, by the names of `model.webhook.Options`."""
        given: dict[str, Any] = {
            n: getattr(self, n) for n in EndpointOptions.model_fields if n in self.model_fields_set
        }
        if "channels" in given:
            given["channels"] = tuple(given["channels"] or ())
        if "batch_wait" in given and given["batch_wait"] is None:
            del given["batch_wait"]
        return given


class CreateEndpoint(EndpointOptions):
    """A URL that wants events. What a URL, a type, a header and a secret may be is checked in `zapd.webhooks`."""

    url: str
    types: list[str] = Field(
        default=["*"], description="`*`, a name such as `message.sent`, or a family such as `message.*`"
    )
    connection_id: Id | None = None
    format: BodyFormat = BodyFormat.STANDARD
    headers: dict[str, str] = {}
    secret: str | None = Field(
        default=None, description="`whsec_` and base64 of 24 to 64 bytes, or `whsk_…`; made when not given"
    )
    signing: list[Literal["v1", "v1a"]] | None = Field(
        default=None, description="`v1` is HMAC, `v1a` is ed25519 with public keys; `v1` when not given"
    )


class UpdateEndpoint(EndpointOptions):
    """What to change; a field that is not there stays, `null` takes an option back."""

    url: str | None = None
    types: list[str] | None = None
    headers: dict[str, str] | None = None
    enabled: bool | None = None


class RotateSecret(Body):
    """A new secret; made when not given."""

    secret: str | None = None
    overlap: float = Field(default=OVERLAP, description="seconds that the old secret goes on signing")


class DropSecrets(Body):
    """The old secrets go."""

    force: bool = Field(default=False, description="also when no ping has shown that the receiver holds the new one")


class RecoverEndpoint(Body):
    """What to bring back."""

    since: Moment
    until: Moment | None = None
    only_failed: bool = Field(default=True, description="false: also events that it never had")
    dry_run: bool = False
    rate: int | None = Field(default=None, ge=1, le=600_000, description="deliveries a minute")
