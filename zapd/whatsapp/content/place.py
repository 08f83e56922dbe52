"""A place on the map."""

from typing import Annotated

from pydantic import Field

from zapd.whatsapp.content.payload import Payload, said


class LocationPayload(Payload):
    """Degrees; north and east are positive."""

    latitude: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    name: Annotated[str, said(1000)] | None = None
    address: Annotated[str, said(1000)] | None = None
