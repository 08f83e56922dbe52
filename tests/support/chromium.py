"""Debian's Chromium, driven by Playwright. Installed by the tests themselves when they run as root."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support.redis_server import missing

#: As root a sandbox of its own cannot start; the rest keeps it from calling home, which this machine's network refuses.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@cache
def chromium() -> str:
    """The path of the browser. Skips the test without one; with CI set, fails it."""
    found = shutil.which("chromium")
    if found is None and os.geteuid() == 0 and Path("/usr/bin/apt-get").exists():
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True, timeout=300)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=False, capture_output=True, timeout=900, env=environ)
        found = shutil.which("chromium")
    if found is None:
        missing("chromium")
        raise RuntimeError("chromium is missing")
    return found
