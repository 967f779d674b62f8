"""Jars for tests, fetched once by Maven into the cache that Kafka's own are in: whole, or not there at all."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from app.demo.kafka_jars import cache_directory
from tests.conftest import without_broker

POM = (
    "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>{name}</artifactId>"
    "<version>1</version><dependencies>{dependencies}</dependencies></project>"
)


def jars(name: str, dependencies: str, folder: Path, *options: str) -> Path:
    """The folder with these dependencies (elements of a pom.xml), fetched by way of an empty `folder`."""
    if not shutil.which("javac") or not shutil.which("mvn"):
        without_broker("no JDK or no Maven", os.environ)
    pom = POM.format(name=name, dependencies=dependencies)
    kept = cache_directory(os.environ) / f"{name}-{hashlib.sha256(pom.encode()).hexdigest()[:12]}"
    if not kept.is_dir():
        (folder / "pom.xml").write_text(pom)
        fetch = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}", *options]
        if subprocess.run(fetch, cwd=folder, capture_output=True, timeout=120, check=False).returncode:
            without_broker(f"Maven can't fetch the jars of {name}", os.environ)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder / "lib", f"{kept}.{os.getpid()}")
        Path(f"{kept}.{os.getpid()}").rename(kept)
    return kept
