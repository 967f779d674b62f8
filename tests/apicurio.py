"""A real schema registry for tests: Apicurio from Maven in the cache of Kafka's jars, and a door before it.

3.0.9 is the newest that runs on Java 17. It speaks Confluent's API under /apis/ccompat/v7, keeps all in memory, and
knows no compatibility unless told. The door is what tests shut, lock and listen at: stopping the registry itself would
cost seconds and its memory.
"""

import http.client
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from app.demo.child import Child
from app.demo.kafka_jars import DOWNLOAD_SECONDS, NoBroker, cache_directory, find_java
from app.demo.ports import LOOPBACK, answers, free_port

VERSION = "3.0.9"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
API = "/apis/ccompat/v7"
UP_WITHIN_SECONDS = 90.0
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def program(environ: Mapping[str, str]) -> Path:
    """Return the unpacked registry, fetching it if this is the first time (109 MB)."""
    cache = cache_directory(environ)
    home = cache / f"apicurio-{VERSION}"
    if home.is_dir():
        return home
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None:
        raise NoBroker(f"no mvn found to fetch Apicurio {VERSION} with")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="registry-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = [maven, "-q", "-B", COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
        if done.returncode:
            raise NoBroker(f"Maven could not bring Apicurio {VERSION}: {(done.stdout + done.stderr)[:200]}")
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        if not home.is_dir():
            os.replace(folder / "unpacked", home)  # noqa: PTH105 - the atomic one
    return home


@contextmanager
def apicurio(environ: Mapping[str, str]) -> Iterator[str]:
    """A registry on loopback; the address of its API. Raises NoBroker or ChildFailed."""
    java, home, port = find_java(environ), program(environ), free_port()
    with tempfile.TemporaryDirectory(prefix="phonon-registry-") as folder:
        command = [java, *JVM, f"-Dquarkus.http.host={LOOPBACK}", f"-Dquarkus.http.port={port}"]
        command += ["-jar", str(home / f"apicurio-registry-app-{VERSION}-runner.jar")]
        child = Child("Apicurio", command, log=Path(folder) / "log", cwd=Path(folder))
        try:
            url = f"http://{LOOPBACK}:{port}{API}"
            child.wait_until(lambda: answers(f"{url}/subjects"), within_seconds=UP_WITHIN_SECONDS)
            yield url
        finally:
            child.stop()


class Door:
    """A proxy before a registry: it can be shut and opened on one port, locked with a password, and listened at."""

    def __init__(self, behind: str) -> None:
        self.behind = behind.removeprefix("http://").partition("/")[0]
        self.port = free_port()
        self.requests: list[str] = []
        self.password: str | None = None
        self._server: ThreadingHTTPServer | None = None

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials}{'@' if credentials else ''}{LOOPBACK}:{self.port}{API}"

    def open(self) -> None:
        self._server = ThreadingHTTPServer((LOOPBACK, self.port), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def shut(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

            def _pass(self) -> None:
                door.requests.append(f"{self.command} {self.path}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                wanted = f"Basic {b64encode((door.password or '').encode()).decode()}"
                if door.password is not None and self.headers.get("Authorization") != wanted:
                    self._answer(401, b'{"error_code":401,"message":"Unauthorized"}')
                    return
                behind = http.client.HTTPConnection(door.behind, timeout=10)
                kept = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
                behind.request(self.command, self.path, body or None, kept)
                answer = behind.getresponse()
                self._answer(answer.status, answer.read())
                behind.close()

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = _pass  # noqa: N815 - http.server's names

        return Handler
