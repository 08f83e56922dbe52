"""`make bench [ONLY=word]`: measure the main job; rows go to build/bench.json. Nothing is asserted about time."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.bench import main_job
from tests.bench.rows import Row, save

CASES: dict[str, Callable[[], Awaitable[list[Row]]]] = {
    "accept": main_job.accept,
    "light": main_job.light,
    "way-sent": lambda: main_job.whole_way(["message.sent"]),
    "way-all": lambda: main_job.whole_way(["message.sent", "message.delivered", "message.read"]),
    "memory": main_job.memory,
}


async def main() -> None:
    only = [word for word in [*sys.argv[1:], os.environ.get("ONLY", "")] if word]
    rows: list[Row] = []
    for name, case in CASES.items():
        if not only or any(name.startswith(word) for word in only):
            print(f"{name} …", flush=True)
            rows += await case()
    save(Path("build/bench.json"), rows)


if __name__ == "__main__":
    uvloop.run(main())
