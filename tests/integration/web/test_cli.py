"""The command line against a running daemon: what a person types, and its exit codes."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.kinds import CONTENTS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def zapd(daemon: Daemon, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ZAPD_URL": daemon.url, "ZAPD_API_KEY": daemon.key, **environ},
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def asked(daemon: Daemon, *arguments: str) -> Any:
    """The JSON that a command prints."""
    code, out, err = await zapd(daemon, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


async def test_a_message_goes_from_the_command_line_to_the_network(daemon: Daemon) -> None:
    await asked(daemon, "connections", "create", "sandbox", "--label", "demo", "--id", "cli")

    async def connected() -> bool:
        return bool((await asked(daemon, "connections", "show", "cli"))["state"] == "connected")

    await eventually(connected)
    sent = await asked(daemon, "send", "cli", "5511999998888", "Olá")

    async def read() -> bool:
        return bool((await asked(daemon, "messages", "show", sent["id"]))["status"] == "read")

    await eventually(read)
    code, listed, _ = await zapd(daemon, "messages", "list", "cli")
    assert code == 0
    assert sent["id"] in listed


LISTS = ["connections", "queues", "dead", "events", "endpoints", "deliveries", "keys", "status"]


@pytest.mark.parametrize("command", LISTS)
async def test_a_command_shows_a_table_for_people_and_json_for_programs(daemon: Daemon, command: str) -> None:
    assert isinstance(await asked(daemon, command), dict)
    code, out, err = await zapd(daemon, command)
    assert code == 0
    assert out.strip() or err == "none\n"


async def test_the_status_says_in_words_what_runs(daemon: Daemon) -> None:
    _, out, _ = await zapd(daemon, "status")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "running" in lines["zapd"]
    assert "all up" in lines["parts"]
    assert lines["message:send"].split()[-1] == "no"


async def test_a_key_is_made_used_and_revoked(daemon: Daemon) -> None:
    key = await asked(daemon, "keys", "create", "reader", "--scope", "read")
    assert (await zapd(daemon, "connections", ZAPD_API_KEY=key["key"]))[0] == 0
    code, _, err = await zapd(daemon, "keys", ZAPD_API_KEY=key["key"])
    assert code == 1
    assert "Forbidden" in err
    await asked(daemon, "keys", "revoke", key["id"])
    assert (await zapd(daemon, "connections", ZAPD_API_KEY=key["key"]))[0] == 1


async def test_a_rotated_key_has_the_same_rights_and_the_old_one_ends(daemon: Daemon) -> None:
    old = await asked(daemon, "keys", "create", "reader", "--scope", "read")
    new = await asked(daemon, "keys", "rotate", old["id"], "--overlap", "0")
    assert (new["label"], new["scopes"]) == ("reader", ["read"])
    assert (await zapd(daemon, "connections", ZAPD_API_KEY=new["key"]))[0] == 0
    assert (await zapd(daemon, "connections", ZAPD_API_KEY=old["key"]))[0] == 1
    assert (await zapd(daemon, "keys", "rotate", old["id"]))[0] == 1


async def test_queues_are_paused_and_resumed(daemon: Daemon) -> None:
    assert (await asked(daemon, "queues", "pause", "message:send"))["paused"] == ["message:send"]
    assert (await asked(daemon, "queues", "resume"))["paused"] == []
    assert (await zapd(daemon, "queues", "clean"))[0] == 0
    assert (await zapd(daemon, "dead", "retry", "--queue", "message:send"))[0] == 0
    assert (await zapd(daemon, "dead", "retry", "job_nobody"))[0] == 1
    assert (await zapd(daemon, "dead", "purge"))[0] == 64
    assert (await zapd(daemon, "dead", "purge", "--all"))[0] == 0


async def test_an_endpoint_is_made_and_deleted(daemon: Daemon) -> None:
    made = await asked(daemon, "endpoints", "create", "http://127.0.0.1:9/hook", "--type", "message.*")
    assert made["secret"].startswith("whsec_")
    assert (await zapd(daemon, "endpoints", "disable", made["id"]))[0] == 0
    assert (await asked(daemon, "endpoints", "show", made["id"]))["enabled"] is False
    assert (await zapd(daemon, "endpoints", "enable", made["id"]))[0] == 0
    assert (await asked(daemon, "endpoints", "show", made["id"]))["enabled"] is True
    assert (await zapd(daemon, "endpoints", "delete", made["id"]))[0] == 0


async def test_a_refusal_is_told_in_the_daemons_words_with_exit_code_1(daemon: Daemon, connection: str) -> None:
    code, _, err = await zapd(daemon, "send", connection, "abc", "Olá")
    assert code == 1
    assert "to:" in err


async def test_a_daemon_that_is_away_is_exit_code_1(daemon: Daemon) -> None:
    code, _, err = await zapd(daemon, "status", ZAPD_URL="http://127.0.0.1:9")
    assert code == 1
    assert "does not answer" in err


async def test_address_and_key_are_found_by_the_configuration(daemon: Daemon) -> None:
    environ = {"ZAPD_URL": "", "ZAPD_API_KEY": "", "ZAPD_HTTP__LISTEN": f"127.0.0.1:{daemon.port}"}
    assert (await zapd(daemon, "status", "--state-dir", str(daemon.state), **environ))[0] == 0


async def test_files_go_in_and_out(daemon: Daemon, tmp_path: Path) -> None:
    mime, content = CONTENTS["image"]
    file = tmp_path / "gato.jpg"
    file.write_bytes(content)
    made = await asked(daemon, "media", "upload", str(file))
    assert (made["mime"], made["filename"]) == (mime, "gato.jpg")
    assert (await asked(daemon, "media", "show", made["id"]))["state"] == "ready"
    copy = tmp_path / "copy.jpg"
    assert (await asked(daemon, "media", "download", made["id"], "--output", str(copy)))["size"] == len(content)
    assert copy.read_bytes() == content
    code, _, err = await zapd(daemon, "media", "download", made["id"], "--output", str(copy))
    assert (code, "exists" in err) == (1, True)
    assert (await zapd(daemon, "media", "delete", made["id"]))[0] == 0
    code, _, err = await zapd(daemon, "media", "show", made["id"])
    assert (code, "there is no file" in err) == (1, True)


async def test_the_inbox_is_listed_shown_and_read_again(daemon: Daemon, connection: str) -> None:
    wrote = {"from": "5511977776666", "type": "text", "payload": {"text": "oi"}}
    assert (await daemon.call("POST", f"/sandbox/{connection}/inbound", wrote))[0] == 202

    async def kept() -> Any:
        return (await asked(daemon, "inbox", "list", "--connection", connection, "--read"))["data"]

    row = (await eventually(kept))[0]
    assert "oi" in (await asked(daemon, "inbox", "show", row["id"]))["raw"]
    assert (await zapd(daemon, "inbox"))[0] == 0
    assert len((await asked(daemon, "inbox", "process", row["id"]))["job_ids"]) == 1
    assert (await zapd(daemon, "inbox", "process", "inb_none"))[0] == 1
