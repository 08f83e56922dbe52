"""What `zapd doctor` looks at. Each check returns findings: a plain sentence, and what to do. None changes anything."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from zapd.cli.checkup import database, listener, receivers, redis, state
from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.cli.options import overrides
from zapd.config import Config, load
from zapd.errors import ConfigError
from zapd.parts.hub_file import problems_of_file
from zapd.whatsapp.web.settings import MISSING, installed


def examine(file: Path | None, state_dir: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """Every check, in the order in which an operator would mend things."""
    try:
        config = load(file, environ=environ, overrides=overrides(state_dir))
    except ConfigError as error:  # nothing else can be known then
        return [
            wrong("configuration", line, "Mend the line; `zapd check-config` says the same.") for line in error.problems
        ]
    return asyncio.run(_examined(config))


async def _examined(config: Config) -> list[Finding]:
    findings = [*await _rules(config), *state.directory(config), *state.secrets(config), *state.disk(config)]
    findings += await database.examined(config)
    findings += await redis.examined(config)
    findings += listener.examined(config)
    findings += _extras()
    findings += await receivers.examined(config)
    return findings


async def _rules(config: Config) -> list[Finding]:
    if problems := await problems_of_file(config):
        return [wrong("configuration", problem, "Mend the rule in the configuration file.") for problem in problems]
    return [ok("configuration", "every key is right")]


def _extras() -> list[Finding]:
    if installed():
        return [ok("WhatsApp Web", "the extra is installed")]
    return [
        note("WhatsApp Web", "the extra is not installed: connections of transport web are refused", f"It {MISSING}.")
    ]
