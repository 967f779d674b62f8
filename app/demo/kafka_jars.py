"""Apache Kafka's own jars in a cache of this user: fetched once by Maven, complete or not there at all.

Maven writes into a directory beside the cache, which is renamed when it is whole; a lock file keeps two processes from
fetching at once. log4j's binding comes with it, because without one the broker says nothing, not even why it ends.
BROKER_VERSION asks for another version than ours, to try what others have.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KAFKA_VERSION = "4.3.1"
OLDEST_JAVA = 17
DOWNLOAD_SECONDS = 300

POM = """\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.3</version>
    </dependency>
  </dependencies>
</project>
"""


class NoBroker(Exception):  # noqa: N818 - it says what is missing
    """Why one kind of broker can't be had here, in one line."""


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where the jars are kept: below XDG_CACHE_HOME, or ~/.cache."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "phonon-events"


def kafka_version(environ: Mapping[str, str]) -> str:
    """Return the version to run."""
    return environ.get("BROKER_VERSION") or KAFKA_VERSION


def java_version(text: str) -> int:
    """Read the major version from what `java -version` prints; 0 if it can't be read."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def find_java(environ: Mapping[str, str]) -> str:
    """Return the java to run; raise if there is none new enough."""
    home = environ.get("JAVA_HOME")
    java = (
        shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java", path=environ.get("PATH"))
    )
    if java is None:
        raise NoBroker(f"no java found (Kafka {KAFKA_VERSION} needs Java {OLDEST_JAVA} or newer)")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    if (version := java_version(shown.stderr)) < OLDEST_JAVA:
        raise NoBroker(f"java is version {version or 'unknown'}, Kafka {KAFKA_VERSION} needs {OLDEST_JAVA} or newer")
    return java


def kafka_jars(environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return the directory of jars, fetching them if this is the first time."""
    cache, version = cache_directory(environ), kafka_version(environ)
    jars = cache / f"kafka-{version}"
    try:
        if jars.is_dir():
            return jars
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not jars.is_dir():  # another process may have fetched them while we waited
                say(f"Fetching Apache Kafka {version} with Maven, once (44 MB) ...")
                _fetch(cache, jars, environ)
    except OSError as error:  # a home that can't be written to, a full disk
        raise NoBroker(f"no room for Kafka's jars in {cache} ({error.strerror})") from None
    return jars


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when we end, however we end
        yield


def _fetch(cache: Path, jars: Path, environ: Mapping[str, str]) -> None:
    maven, version = shutil.which("mvn", path=environ.get("PATH")), kafka_version(environ)
    if maven is None:
        raise NoBroker(f"no mvn found to fetch Kafka {version} with")
    for abandoned in cache.glob("fetching-*"):  # we hold the lock: nobody is at work there
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "pom.xml").write_text(POM.format(version=version))
        _maven(maven, Path(directory), environ)
        if not any((Path(directory) / "lib").glob("kafka_*.jar")):
            raise NoBroker(f"Maven ended well but brought no Kafka {version}")
        os.replace(Path(directory) / "lib", jars)  # noqa: PTH105 - the atomic one


def _maven(maven: str, directory: Path, environ: Mapping[str, str]) -> None:
    command = [
        maven,
        "-q",
        "-B",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={directory / 'lib'}",
    ]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=directory,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoBroker(f"Maven did not bring Kafka {kafka_version(environ)} in {DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NoBroker(
            f"Maven could not bring Kafka {kafka_version(environ)}: {said[0] if said else f'code {done.returncode}'}"
        )
