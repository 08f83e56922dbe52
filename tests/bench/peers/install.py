"""Installs the peers, each in an environment of its own under build/peers, and says what cannot be installed.

Versions are pinned here and nowhere else: zapd itself needs none of these packages.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = Path("build/peers")
_FAST = ("hiredis==3.5.0", "uvloop==0.23.0")  # what their users run them with
_PYTHON = {
    "SAQ": ("saq", ("saq[redis]==0.26.4", "typing_extensions", *_FAST)),
    "arq": ("arq", ("arq==0.28.0", *_FAST)),
    "taskiq": ("taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", *_FAST)),
    "dramatiq": ("dramatiq", ("dramatiq[redis]==2.2.1", *_FAST)),
    "streaq": ("streaq", ("streaq==7.2.0",)),
}
_NODE = ("bullmq@6.7.0", "ioredis@6.0.0")
PATIENCE = 300  # seconds for one command


@dataclass(frozen=True)
class Peer:
    """A candidate: how its script is started."""

    name: str
    command: tuple[str, ...]
    environ: dict[str, str]


def peers() -> list[Peer]:
    """All that can be had on this machine."""
    found = []
    for name, install in {"BullMQ": _bullmq, **dict.fromkeys(_PYTHON, _python)}.items():
        try:
            found.append(install(name))
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            print(f"{name} is left out, it cannot be installed: {said.strip()[-300:]}", flush=True)
    return found


def _python(name: str) -> Peer:
    word, packages = _PYTHON[name]
    directory = BUILD / word
    python = (directory / "bin" / "python").absolute()
    pins = (*packages, sys.version)  # on the Python that zapd runs on: builds differ by a third
    if _is_new(directory, pins):
        shutil.rmtree(directory, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(directory))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        _mark(directory, pins)
    return Peer(name, (str(python), str(HERE / f"use_{word}.py")), {})


def _bullmq(name: str) -> Peer:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise FileNotFoundError("node and npm are not on PATH")
    directory = BUILD / "bullmq"
    if _is_new(directory, _NODE):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _run(npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(directory), *_NODE)
        _mark(directory, _NODE)
    return Peer(name, (node, str(HERE / "use_bullmq.mjs")), {"PEER_DIRECTORY": str(directory.absolute())})


def _is_new(directory: Path, pins: tuple[str, ...]) -> bool:
    mark = directory / "pins"
    return not mark.exists() or mark.read_text() != "\n".join(pins)


def _mark(directory: Path, pins: tuple[str, ...]) -> None:
    (directory / "pins").write_text("\n".join(pins))


def _run(*command: str) -> None:
    print(" ".join(Path(part).name if part.startswith("/") else part for part in command), flush=True)
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
