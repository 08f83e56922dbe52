"""`zapd doctor`: what is wrong with this installation, and does zapd withstand a hostile receiver."""

import json
import os
from pathlib import Path

import click

from zapd.cli.options import config_option, json_option, state_option
from zapd.cli.output import Output
from zapd.cli.receiver import receiver


@click.group(invoke_without_command=True)
@config_option
@state_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, config: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Look for what is wrong: configuration, state, database, Redis, clock, listener, extras, receivers.

    The daemon may run or not. Nothing is changed. Exit code 1 when something is wrong.
    """
    if ctx.invoked_subcommand is not None:
        return
    from zapd.cli.checkup import examine  # noqa: PLC0415  # imports what a daemon does

    findings = examine(config, state_dir, os.environ)
    if as_json:
        click.echo(json.dumps([finding.row() for finding in findings], indent=2, ensure_ascii=False))
    else:
        Output(as_json=False).table([finding.row() for finding in findings], "check", "result", "found", "do")
    wrong = sum(finding.result == "wrong" for finding in findings)
    if wrong:
        raise click.ClickException(f"{wrong} of {len(findings)} checks found something wrong")


doctor.add_command(receiver)
