"""Node's packages that tests need: installed once, from a lock with hashes, into the cache that Kafka's jars are in."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.demo.kafka_jars import cache_directory
from tests.conftest import without_broker

INSTALL = ("npm", "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--silent", "--ignore-scripts")
INSTALL_SECONDS = 240


def installed(tool: Path) -> Path:
    """A folder with what tool's package-lock.json names, and the tool's files.

    Without Node the test is skipped, or fails where CI requires brokers.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        without_broker(f"{tool.name} needs node and npm", os.environ)
    lock = hashlib.sha256((tool / "package-lock.json").read_bytes()).hexdigest()[:12]
    home = cache_directory(os.environ) / f"{tool.name}-{lock}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{tool.name}-", ignore_cleanup_errors=True) as folder:
            made = Path(folder) / "made"
            shutil.copytree(tool, made)
            done = subprocess.run(INSTALL, cwd=made, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            if done.returncode:
                without_broker(f"npm could not bring what {tool.name} needs: {done.stderr[:200]}", os.environ)
            made.rename(home)
    return home
