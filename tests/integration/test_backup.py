"""A copy that is whole while the daemon writes, and that a new daemon starts on."""

import asyncio
import shutil
import sys
from pathlib import Path

from tests.support.daemon import COMMAND, Daemon


async def backup(daemon: Daemon, target: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "backup",
        str(target),
        "--config",
        str(daemon.config),
        "--state-dir",
        str(daemon.state),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_a_daemon_starts_on_a_copy_made_under_load_and_reads_what_was_accepted(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    async with Daemon(tmp_path / "state") as daemon:
        await daemon.connect(id="main")
        sent = [await daemon.send("main", f"n{i}") for i in range(5)]
        more = asyncio.create_task(_keep_sending(daemon), name="load")
        code, said = await backup(daemon, target)
        more.cancel()
        await asyncio.gather(more, return_exceptions=True)
        key = daemon.key
        assert (code, (await backup(daemon, target))[0]) == (0, 1), said  # the second finds it full

    assert {file.name for file in target.iterdir()} >= {"zapd.db", "data.key", "admin.key"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in target.iterdir())
    shutil.copytree(target, tmp_path / "restored")
    async with Daemon(tmp_path / "restored") as restored:
        assert restored.key == key
        found = {m["id"]: m["payload"] for m in await restored.messages("main")}
        assert [found[m["id"]] for m in sent] == [{"text": f"n{i}"} for i in range(5)]


async def _keep_sending(daemon: Daemon) -> None:
    while True:
        await daemon.send("main", "load")


async def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "zapd",
        "backup",
        str(tmp_path / "copy"),
        "--state-dir",
        str(tmp_path / "none"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"there is no database" in said
