"""What `zapd run` tells a person who started it on a terminal."""

import shlex
from pathlib import Path

from zapd.cli.options import url_of
from zapd.config import Config


def greeting(config: Config, *, command: str, config_file: Path | None) -> str:
    """Where it listens, where the key is, and a first command that works as it stands."""
    url, state = url_of(*config.http.address), config.state.dir.absolute()
    client = [command, "connections", "create", "sandbox", "--id", "demo", "--label", "demo"]
    if config_file:
        client += ["--config", str(config_file)]
    if state != Path("state").absolute():
        client += ["--state-dir", str(state)]
    if url != url_of(*Config().http.address):
        client += ["--url", url]
    return (
        f"\n  zapd is ready at {url}\n\n"
        f"    dashboard     {url}/dashboard\n"
        f"    API and docs  {url}/docs\n"
        f"    admin key     {state / 'admin.key'}\n"
        f"    first step    {shlex.join(client)}\n"
        f"    stop          Ctrl-C\n"
    )
