"""A stranger's first three minutes: clone into an empty directory, `make run`, and what README says to type next.

The build needs the package index and takes about half a minute.
"""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.daemon import free_port
from tests.support.readme import ROOT, Block, blocks, fits, section
from tests.support.redis_server import missing

ADDRESS = "127.0.0.1:8470"  #: README's; the test takes a free port instead
BUILD_WITHIN = 900.0  #: seconds for `make run` with an empty cache, a slow index and a busy machine
OFFLINE = re.compile(r"No matching distribution|Could not find a version|NewConnectionError|name resolution")
ASKS_ONLY = re.compile(r"^(?!.*( -d | send )).*", re.DOTALL)  #: commands that may be repeated until the answer fits


class Checkout:
    """A clone with `make run` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.log = root.with_suffix(".log")
        own = ("ZAPD_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "REDIS_", "DATABASE_URL", "STATE_DIRECTORY", "GIT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environ = {**kept, "ZAPD_HTTP__LISTEN": f"127.0.0.1:{self.port}"}
        self.make: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """`make run`, in a session of its own as on a terminal of its own."""
        with self.log.open("wb") as log:
            self.make = await asyncio.create_subprocess_exec(
                "make", "run", cwd=self.root, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        await eventually(self._ready, within=BUILD_WITHIN, every=0.1)

    def _ready(self) -> bool:
        assert self.make
        if self.make.returncode is not None:
            if OFFLINE.search(self.told()):
                missing("the package index")
            raise AssertionError(f"make run ended with {self.make.returncode}:\n{self.told()[-3000:]}")
        return '"daemon.ready"' in self.told()

    def told(self) -> str:
        """What `make run` wrote so far."""
        return self.log.read_text(errors="replace")

    async def typed(self, commands: str) -> str:
        """What these commands print, in a shell whose directory is the checkout."""
        shell = await asyncio.create_subprocess_exec(
            "sh",
            "-euc",
            commands.replace(ADDRESS, f"127.0.0.1:{self.port}"),
            cwd=self.root,
            env={**self.environ, "ZAPD_URL": f"http://127.0.0.1:{self.port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await shell.communicate()
        assert shell.returncode == 0, f"{commands}\n{output.decode()}"
        return output.decode()

    async def stop(self) -> None:
        """Ctrl-C: the terminal sends it to make and to zapd alike."""
        assert self.make
        os.killpg(self.make.pid, signal.SIGINT)
        await asyncio.wait_for(self.make.wait(), 120)

    def processes(self) -> list[int]:
        """Whatever still runs in the checkout."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, IndexError):
                alive = entry.name.isdigit() and (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
                if alive and f"{os.readlink(entry / 'cwd')}/".startswith(f"{self.root}/"):
                    found.append(int(entry.name))
        return found


@pytest.fixture
async def checkout(tmp_path: Path) -> AsyncIterator[Checkout]:
    for tool in ("git", "make", "curl"):
        if shutil.which(tool) is None:
            missing(tool)
    if not (ROOT / ".git").exists():
        missing("the repository")
    clone = await asyncio.create_subprocess_exec("git", "clone", "--quiet", str(ROOT), str(tmp_path / "zapd"))
    assert await clone.wait() == 0
    made = Checkout(tmp_path / "zapd")
    yield made
    for process in made.processes():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    if made.make:
        await made.make.wait()


async def test_a_fresh_clone_runs_and_sends_a_message_as_readme_says(checkout: Checkout) -> None:
    first_steps = section((checkout.root / "README.md").read_text(), "## Send your first message")
    key, *steps = [block for block in blocks(first_steps) if block.kind == "sh"]
    assert any("/send" in step.text for step in steps)
    await checkout.start()
    assert (checkout.root / "state" / "admin.key").stat().st_mode & 0o777 == 0o600

    for step in steps:
        await try_out(checkout, key, step)

    await checkout.stop()
    assert '"daemon.stopped"' in checkout.told()
    assert checkout.processes() == []


async def try_out(checkout: Checkout, key: Block, step: Block) -> None:
    """Type a step, and compare what it prints with README. What only asks is asked until it fits."""
    assert step.answer, f"README shows no answer to:\n{step.text}"
    said = ""

    async def answered() -> bool:
        nonlocal said
        said = await checkout.typed(key.text + step.text)
        return fits(step.answer, said)

    with suppress(AssertionError):
        await eventually(answered, within=60.0 if ASKS_ONLY.match(step.text) else 0.0, every=0.1)
    assert fits(step.answer, said), f"{step.text}\nprinted\n{said}\ninstead of\n{step.answer}"
