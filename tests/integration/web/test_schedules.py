"""Schedules over HTTP, from the command line and in the file."""

import asyncio
from typing import Any

import pytest

from tests.integration.web.test_cli import asked, zapd
from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[queues."t:still"]
action = "noop"
kinds = ["", "tick"]
[schedules."in-file"]
cron = "0 8 * * MON-FRI"
timezone = "America/Sao_Paulo"
queue = "t:still"
payload = { report = "daily", to = ["ana"] }
[schedules."often"]
every = "1s"
emit = "clock.ticked"
"""


async def call(daemon: Daemon, method: str, path: str, body: Any = None) -> Any:
    status, answer = await daemon.call(method, path, body)
    assert status < 300, answer
    return answer


async def test_the_file_s_schedules_are_there_and_fire(daemon: Daemon) -> None:
    async def taken() -> dict[str, Any]:
        found = {s["id"]: s for s in await daemon.pages("/schedules")}
        return found if "in-file" in found else {}

    listed = await eventually(taken, within=20)
    assert (listed["cleanup"]["source"], listed["in-file"]["source"]) == ("zapd", "config")
    shown = listed["in-file"]
    assert (shown["payload"], shown["priority"]) == ({"report": "daily", "to": ["ana"]}, 5)
    assert [text[11:] for text in shown["next"]] == ["11:00:00.000Z"] * 5

    async def ticked() -> bool:
        return len((await daemon.call("GET", "/events?type=clock.ticked"))[1]["data"]) >= 2

    await eventually(ticked, within=20)
    assert (await daemon.call("DELETE", "/schedules/in-file"))[0] == 409
    assert (await daemon.call("PATCH", "/schedules/in-file", {"kind": "tick"}))[0] == 409
    assert (await call(daemon, "POST", "/schedules/in-file/pause"))["next"] == []
    assert len((await call(daemon, "POST", "/schedules/in-file/resume"))["next"]) == 5


async def test_a_schedule_from_create_to_delete(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/t:still/pause")
    body = {"id": "s1", "every": "1h", "queue": "t:still", "kind": "tick", "payload": {"n": 1}, "misfire": "all(3)"}
    made = await call(daemon, "POST", "/schedules", body)
    assert (made["every"], made["misfire"], made["fires"], made["source"]) == (3600, "all(3)", 0, "api")
    assert (await daemon.call("POST", "/schedules", body))[0] == 409
    ran = await call(daemon, "POST", "/schedules/s1/run")
    job = await call(daemon, "GET", f"/jobs/{ran['made']}")
    assert (job["queue"], job["kind"], job["payload"]) == ("t:still", "tick", {"n": 1})
    assert (await call(daemon, "GET", "/schedules/s1"))["fires"] == 1
    changed = await call(daemon, "PATCH", "/schedules/s1", {"cron": "0 9 * * *", "timezone": "Europe/Lisbon"})
    assert (changed["every"], changed["cron"], changed["kind"]) == (None, "0 9 * * *", "tick")
    changed = await call(daemon, "PATCH", "/schedules/s1", {"emit": "a.b"})
    assert (changed["queue"], changed["emit"]) == (None, "a.b")
    put = await call(daemon, "PUT", "/schedules/s1", {"every": 60, "queue": "t:still"})
    assert (put["kind"], put["cron"], put["misfire"]) == ("", None, "skip")
    assert (await daemon.call("DELETE", "/schedules/s1"))[0] == 204
    assert (await daemon.call("GET", "/schedules/s1"))[0] == 404
    await daemon.call("POST", "/queues/t:still/resume")


GOOD = {"every": "1h", "queue": "t:still"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"every": None, "cron": "0 0 30 2 *"}, "cron"),
        ({"every": None, "cron": "61 * * * *"}, "cron"),
        ({"every": None, "cron": "* * * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"every": "0.5s"}, "every"),
        ({"every": "soon"}, "every"),
        ({"every": None}, "body"),
        ({"cron": "* * * * *"}, "body"),
        ({"queue": "nope"}, "queue"),
        ({"queue": "message:send"}, "queue"),
        ({"emit": "a.b"}, "body"),
        ({"queue": None, "emit": "no good"}, "emit"),
        ({"queue": None, "emit": "message.sent"}, "emit"),
        ({"queue": None, "emit": "a.b", "payload": [1]}, "body"),
        ({"misfire": "often"}, "misfire"),
        ({"jitter": "2h"}, "jitter"),
        ({"priority": 11}, "priority"),
        ({"kind": "other"}, "kind"),
        ({"id": "a/b"}, "id"),
    ],
)
async def test_a_wrong_schedule_is_refused(daemon: Daemon, change: dict[str, Any], field: str) -> None:
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    status, problem = await daemon.call("POST", "/schedules", body)
    assert (status, problem["errors"][0]["field"]) == (422, field)


async def test_schedules_from_the_command_line(daemon: Daemon) -> None:
    arguments = ("--cron", "0 7 * * *", "--timezone", "America/Sao_Paulo", "--queue", "t:still", "--payload", '{"a":1}')
    made = await asked(daemon, "schedules", "create", "--id", "cli", *arguments)
    assert made["next"][0].endswith("10:00:00.000Z")
    assert (await asked(daemon, "schedules", "update", "cli", "--kind", "tick"))["kind"] == "tick"
    assert (await asked(daemon, "schedules", "run", "cli"))["made"].startswith("job_")
    assert (await asked(daemon, "schedules", "pause", "cli"))["paused"]
    assert not (await asked(daemon, "schedules", "resume", "cli"))["paused"]
    code, out, _ = await zapd(daemon, "schedules")
    assert (code, "in-file" in out, "cli" in out) == (0, True, True)
    await asked(daemon, "schedules", "delete", "cli")
    assert (await zapd(daemon, "schedules", "show", "cli"))[0] == 1


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ('cron = "0 0 30 2 *"\nqueue = "q"', '"s".cron = "0 0 30 2 *": should be a cron line that fires'),
        ('cron = "0 8 * * *"\nqueue = "nope"', '"s".queue = "nope": should be one of: q'),
        ('cron = "0 8 * * *"', '"s".queue: should be given, or emit'),
        ('every = "100ms"\nqueue = "q"', '"s".every = "100ms": should be at least 1s'),
        ('every = "1s"\nqueue = "q"\ntimezone = "Nowhere"', '"s".timezone = "Nowhere": should be a time zone'),
        ('every = "1s"\nqueue = "q"\nmisfire = "all"', '"s".misfire = "all": should be "skip"'),
        ('every = "1s"\nquue = "q"', '"s".quue: unknown key; did you mean queue?'),
    ],
)
async def test_a_wrong_schedule_in_the_file_is_refused_at_load(tmp_path: Any, section: str, told: str) -> None:
    file = tmp_path / "zapd.toml"
    file.write_text(f'[queues.q]\naction = "noop"\n[schedules.s]\n{section}\n')
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "check-config", "--config", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 78
    assert told.replace('"s"', "schedules.s") in (out + err).decode()
