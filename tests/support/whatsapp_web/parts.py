"""The server side of pywhats' tests, which its wheel leaves out: from its source archive, fetched once."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.support.redis_server import missing

VERSION = "0.2.0"
_KEPT = Path(__file__).resolve().parents[3] / "build" / f"pywhats-{VERSION}-fakeserver"
_INSIDE = f"pywhats-{VERSION}/tests/fakeserver/"


@cache
def fakeserver() -> ModuleType:
    """The package. Skips the test, or fails it in CI, when it cannot be had."""
    if importlib.util.find_spec("neonize") is None or importlib.util.find_spec("pywhats") is None:
        missing("neonize or pywhats")
    if not (_KEPT / "server.py").exists():
        try:
            _fetch()
        except (subprocess.SubprocessError, OSError, LookupError) as error:
            missing(f"the source archive of pywhats {VERSION} ({type(error).__name__})")
    spec = importlib.util.spec_from_file_location(
        "pywhats_fakeserver", _KEPT / "__init__.py", submodule_search_locations=[str(_KEPT)]
    )
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fetch() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "pywhats", f"pywhats=={VERSION}", "--dest", folder]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        archive = next(iter(Path(folder).glob("*.tar.gz")))
        with tarfile.open(archive) as content:
            for member in content.getmembers():
                source = content.extractfile(member) if member.name.startswith(_INSIDE) else None
                if source:  # a file; `extract` has its safe filter from Python 3.11.4 on only
                    target = Path(folder) / _INSIDE / Path(member.name).relative_to(_INSIDE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(source.read())
        _KEPT.parent.mkdir(exist_ok=True)
        draft = _KEPT.with_name(f"{_KEPT.name}.{os.getpid()}")
        shutil.copytree(Path(folder) / _INSIDE, draft)
        try:
            draft.rename(_KEPT)
        except OSError:  # another test process was faster
            shutil.rmtree(draft)
