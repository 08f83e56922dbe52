"""The command `zapd`. Each command's file is imported when it is called, so that none pays for another.

Exit codes: 0, 1 (failed), 64 (wrong usage), 78 (wrong configuration), and those of `zapd run` (zapd/daemon.py).
"""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

FAILED, USAGE, BAD_CONFIG = 1, 64, 78

#: name → file; the command in it has the same name, with `_` for `-`.
_COMMANDS = {
    "run": "process",
    "check-config": "process",
    "migrate": "process",
    "backup": "process",
    "status": "system",
    "openapi": "system",
    "connections": "connections",
    "send": "messages",
    "messages": "messages",
    "media": "media",
    "inbox": "inbox",
    "queues": "queues",
    "jobs": "jobs",
    "dead": "dead",
    "batches": "batches",
    "schedules": "schedules",
    "events": "events",
    "endpoints": "endpoints",
    "deliveries": "deliveries",
    "keys": "keys",
    "contacts": "contacts",
    "tenants": "tenants",
    "doctor": "doctor",
    "completion": "system",
}


class Commands(click.Group):
    """Finds commands by `_COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        file = _COMMANDS.get(cmd_name)
        if file is None:
            return None
        command: click.Command = getattr(import_module(f"zapd.cli.{file}"), cmd_name.replace("-", "_"))
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zapd")
def zapd() -> None:
    """zapd: WhatsApp messages, queues and webhooks in one daemon."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    from zapd.errors import ConfigError, ZapdError  # noqa: PLC0415  # keeps `zapd --help` light

    try:
        code = zapd.main(args=arguments, prog_name="zapd", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return FAILED
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return BAD_CONFIG
    except (click.Abort, BrokenPipeError):
        return FAILED
    except (OSError, ZapdError) as error:  # a database that is away, a directory that it may not use
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return code if isinstance(code, int) else 0
