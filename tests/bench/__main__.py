"""`make bench`: measure the main job and the engine; rows go to build/bench.json. Nothing is asserted about time.

`ONLY=engine make bench` or `python -m tests.bench engine sql` runs the parts that begin so, and leaves the other rows
of the file as they are. `RUNS=1 JOBS=5000` is a quick look. A new part is one more entry of `CASES`.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.bench import bulk, deliveries, engine, events, intake, main_job, sessions
from tests.bench.rows import Row, save

FILE = Path("build/bench.json")
CASES: dict[str, Callable[[], Awaitable[list[Row]]]] = {
    "accept": main_job.accept,
    "light": main_job.light,
    "way-sent": lambda: main_job.whole_way(["message.sent"]),
    "way-all": lambda: main_job.whole_way(["message.sent", "message.delivered", "message.read"]),
    "webhooks": deliveries.deliveries,
    "webhooks-slow": deliveries.slow_endpoint,
    "memory": main_job.memory,
    "events": events.accepted,
    "intake": intake.intake,
    "sessions-paced": sessions.paced,
    "sessions-idle": sessions.idle,
    "bulk": bulk.bulk,
    "engine": engine.engine,
    "sql": engine.with_sql,
    "scale": engine.scale,
}


def main() -> int:
    """Each part in a loop of its own; one that fails is told at the end, and the others run."""
    only = [word for word in [*sys.argv[1:], *os.environ.get("ONLY", "").split()] if word]
    chosen = {name: case for name, case in CASES.items() if not only or any(name.startswith(word) for word in only)}
    failed = []
    for number, (name, case) in enumerate(chosen.items()):
        print(f"{name} …", flush=True)
        try:
            rows = uvloop.run(_whole(case))
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        save(FILE, rows, merge=bool(only) or number > 0)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


async def _whole(case: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
    return await asyncio.ensure_future(case())


if __name__ == "__main__":
    sys.exit(main())
