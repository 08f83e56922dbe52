"""The sources of the scripts."""

from importlib.resources import files

import pytest

from zapd.jobs.scripts import script

NAMES = sorted(
    path.name.removesuffix(".lua") for path in (files("zapd.jobs") / "scripts").iterdir() if path.name != "queue.lua"
)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_newer_redis_gets_a_shebang(name: str) -> None:
    assert script(name, shebang=True).startswith("#!lua")
    assert script(name, shebang=False).startswith("-- Loaded in front of every script")


@pytest.mark.parametrize("name", ["claim", "finish", "reclaim", "recover", "beat", "leave", "cancel", "clean"])
def test_what_frees_memory_works_on_a_full_redis(name: str) -> None:
    assert script(name, shebang=True).startswith("#!lua flags=allow-oom\n")


def test_what_takes_memory_does_not() -> None:
    assert script("enqueue", shebang=True).startswith("#!lua\n")
