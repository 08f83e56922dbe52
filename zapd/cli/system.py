"""`zapd status` and `zapd openapi`."""

from collections.abc import Mapping
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.options import client_command
from zapd.cli.output import Output


@click.command()
@client_command
def status(api: Client, out: Output) -> None:
    """The whole state of the daemon. Exit code 1 when a part of it has failed."""
    found = api.call("GET", "/status").data
    out.one(_flat(found))
    if any(service["failed"] for service in found["services"].values()):
        raise click.ClickException("a part has failed")


@click.command()
def openapi() -> None:
    """Print this release's OpenAPI document; needs no daemon."""
    from zapd.web.docs import rendered_openapi  # noqa: PLC0415
    from zapd.web.routes import ROUTES  # noqa: PLC0415

    click.echo(rendered_openapi(ROUTES))


def _flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """A line for each part of a group, such as `queues.message:send  waiting 3  active 1`."""
    flat: dict[str, Any] = {}
    for name, value in state.items():
        if not isinstance(value, Mapping):
            flat[name] = value
            continue
        for part, figures in value.items():
            flat[f"{name}.{part}"] = _line(figures) if isinstance(figures, Mapping) else figures
    return flat


def _line(figures: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {figure}" for name, figure in figures.items())
