"""The rows that `make bench` and `make chaos` write: build/bench.json and build/chaos.json."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured figure: the median of `runs`, and what it was compared with in the same run."""

    name: str
    value: float
    unit: str
    min: float
    max: float
    runs: int
    versus: str | None = None
    ratio: float | None = None


def row(name: str, values: Sequence[float], unit: str, *, versus: str | None = None, base: float | None = None) -> Row:
    """A row from the values of several runs; `base` is the median of the alternative `versus`."""
    middle = statistics.median(values)
    return Row(
        name=name,
        value=round(middle, 3),
        unit=unit,
        min=round(min(values), 3),
        max=round(max(values), 3),
        runs=len(values),
        versus=versus,
        ratio=round(middle / base, 3) if base else None,
    )


def save(path: Path, rows: Sequence[Row], *, merge: bool = False, quiet: bool = False) -> None:
    """Write the rows and print them as a table. `merge`: rows of other names that the file has stay."""
    if not quiet:
        show(rows)
    told = [asdict(r) for r in rows]
    if merge and path.exists():
        names = {r.name for r in rows}
        told = [old for old in json.loads(path.read_text()) if old["name"] not in names] + told
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n")
    print(f"written to {path}")


def show(rows: Sequence[Row]) -> None:
    """The rows as a table for people."""
    width = max((len(r.name) for r in rows), default=0)
    for r in rows:
        against = f"  {r.ratio:.2f} x {r.versus}" if r.ratio is not None else ""
        spread = f"(min {r.min:,.2f}, max {r.max:,.2f}, n {r.runs})"
        print(f"{r.name:<{width}}  {r.value:>12,.2f} {r.unit:<8} {spread}{against}")
