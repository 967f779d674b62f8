"""The receiver as the provider reaches it: nginx and HAProxy, with our files of deploy/, before two real receivers.

They come from Debian's packages; where one is missing its tests are skipped, or fail where CI requires brokers. Of the
files only the lines that end in `# yours` are edited, and all of them are.
"""

import asyncio
import base64
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pytest

from app.demo.broker import Broker
from app.demo.ports import free_port
from app.listen import KEEP_ALIVE_SECONDS
from schemas.settings import NAMES
from tests.clusters import make_certificates
from tests.conftest import without_broker
from tests.faults import Receiver, made_topics
from tests.oracle import Oracle, read_all
from tests.patience import eventually, until
from tests.processes import Processes
from tests.test_receiver_process import PATH, SAMPLE

pytestmark = pytest.mark.broker

DEPLOY = Path(__file__).parent.parent / "deploy"
RATE = 120
TOKEN = "a+token=of.ours"
BASIC = "user:some-word"
TAKEN = {200, 202}
LIMIT = int(NAMES["PHONON_MAX_BODY_BYTES"].metadata["default"])

NGINX_MAIN = """\
master_process off; # whose worker would outlive it where the tests are killed
pid {folder}/nginx.pid;
daemon off;
error_log {folder}/main.log info;
{asked}
http {{
  access_log {folder}/others.log;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/replies;
  include {folder}/phonon.conf;
}}
"""

#: For how long proxies keep a connection that rests, where nobody says otherwise.
KEPT_SECONDS = {"nginx": 60, "AWS": 60, "Traefik": 90, "Caddy": 120, "Oracle": 300, "Google": 600}


class Front:
    """A proxy that runs with our file, before two receivers; a test may ask for other `numbers` in it."""

    def __init__(
        self,
        name: str,
        process: Processes,
        folder: Path,
        receivers: list[Receiver],
        numbers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.port, self.folder, self.receivers, self._numbers = free_port(), folder, receivers, numbers
        program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            without_broker(f"{name} is not there: apt-get install {name}", os.environ)
        folder.mkdir()
        make_certificates(folder)
        command = getattr(self, name)(program, receivers)
        self.child = process.command(command)
        self.child.wait_until(self._listens, within_seconds=10)

    @property
    def tls(self) -> ssl.SSLContext:
        """What a sender trusts: our CA, also without a key usage, which Python asks for from 3.13 on."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    @property
    def written(self) -> str:
        """All that it has logged."""
        logs = [path.read_text() for path in self.folder.glob("*.log")]
        return "".join([self.child.output, *logs])

    def nginx(self, program: str, receivers: list[Receiver]) -> list[str]:
        one, two = receivers
        edits = {
            "/etc/nginx/tls/hooks.example.com.pem": f"{self.folder}/one.pem",
            "/etc/nginx/tls/hooks.example.com.key": f"{self.folder}/server.key",
            "/var/log/nginx/": f"{self.folder}/",
            "hooks.example.com": "localhost",
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "10.0.0.11:8080": f"127.0.0.1:{one.port}",
            "10.0.0.12:8080": f"127.0.0.1:{two.port}",
        }
        text = edited(DEPLOY / "nginx/phonon.conf", edits, self._numbers)
        asked = "\n".join(re.findall(r"(?m)^#   (\w.*[;}])$", text))
        assert "worker_connections" in asked
        (self.folder / "phonon.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(NGINX_MAIN.format(folder=self.folder, asked=asked))
        return [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def haproxy(self, program: str, receivers: list[Receiver]) -> list[str]:
        one, two = receivers
        edits = {
            "/etc/haproxy/tls/hooks.example.com.pem": f"{self.folder}/server.pem",
            "user haproxy": f"uid {os.getuid()}",
            "group haproxy": f"gid {os.getgid()}",
            "log /dev/log local0": "log stdout format raw local0",
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "10.0.0.11:8080": f"127.0.0.1:{one.port} port {one.management_port}",
            "10.0.0.12:8080": f"127.0.0.1:{two.port} port {two.management_port}",
        }
        (self.folder / "phonon.cfg").write_text(edited(DEPLOY / "haproxy/phonon.cfg", edits, self._numbers))
        return [program, "-db", "-f", str(self.folder / "phonon.cfg")]

    def post(
        self, body: bytes = SAMPLE, path: str = f"{PATH}/{TOKEN}", source: str = "127.0.0.2", **headers: str
    ) -> http.client.HTTPResponse:
        """Post a delivery, with Basic unless another is given, and read the answer's head."""
        basic = {"authorization": "Basic " + base64.b64encode(BASIC.encode()).decode()}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=15, context=self.tls, source_address=(source, 0)
        )
        connection.request("POST", path, body, basic | named)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def raw(self, data: bytes, *, seconds: float = 15, source: str = "127.0.0.2") -> bytes:
        """What comes back for these bytes, until the proxy hangs up or this sender waits no longer."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 15, source_address=(source, 0)) as plain,
            self.tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            with suppress(OSError):  # it need not listen to the end of a body that is too large
                connection.sendall(data)
            connection.settimeout(seconds)
            received = b""
            with suppress(TimeoutError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def edited(path: Path, edits: Mapping[str, str], numbers: Mapping[str, str]) -> str:
    """The file with its lines that end in `# yours` as they must be here, and what a test has other numbers for."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.endswith("# yours"):
            assert any(old in line for old in edits), line
            for old, new in edits.items():
                lines[number] = lines[number].replace(old, new)
    text = "\n".join(lines) + "\n"
    assert all(new in text for new in edits.values())
    for old, new in numbers.items():
        assert old in text
        text = text.replace(old, new)
    return text


def receivers_of(process: Processes, kafka: Broker, prefix: str, folder: Path, **settings: str) -> list[Receiver]:
    both = [Receiver(process, kafka, folder / name, prefix, workers=1) for name in ("one", "two")]
    for receiver in both:
        receiver.start(**settings)
    return both


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_no_delivery_is_refused_while_receivers_are_restarted_and_killed(
    name: str, process: Processes, kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    made_topics(kafka, prefix)
    receivers = receivers_of(process, kafka, prefix, tmp_path)
    front = Front(name, process, tmp_path / name, receivers)
    oracle = Oracle(front.port, seed=1, rate=RATE, tls=front.tls)
    async with oracle.phase("one after the other restarted") as phase:
        for receiver in receivers:
            await until(lambda: phase.answers["200"] > 20, 20)
            receiver.child.signal(signal.SIGTERM)
            assert await asyncio.to_thread(receiver.child.wait, 15) == 0
            await asyncio.to_thread(receiver.start)
    async with oracle.phase("killed with deliveries in its hands") as phase:
        # Two seconds of them: by then a proxy knows that both are back.
        await until(lambda: phase.answers["200"] > 2 * RATE, 20)
        receivers[0].child.signal(signal.SIGSTOP)
        await asyncio.sleep(0.2)
        receivers[0].child.kill()
        await asyncio.sleep(0.5)
    async with oracle.phase("the other one hangs") as phase:
        await asyncio.to_thread(receivers[0].start)
        await until(lambda: phase.answers["200"] > 2 * RATE, 20)
        receivers[1].child.signal(signal.SIGSTOP)
        await asyncio.sleep(8)  # longer than nginx waits for one answer: as many wait as ever will
        receivers[1].child.signal(signal.SIGCONT)
    await until(lambda: not any(receiver.waiting for receiver in receivers), 20)
    verdict = await asyncio.to_thread(oracle.judge, kafka.bootstrap_servers, prefix)
    told = "\n".join([*(phase.line() for phase in oracle.phases), verdict.line()])
    assert all(set(phase.answers) <= {"200", "202"} for phase in oracle.phases), told
    assert verdict.obligations > 5 * RATE, told
    assert verdict.losses + verdict.strangers + verdict.wrong == [], told


@pytest.fixture(params=["nginx", "haproxy"])
def front(
    request: pytest.FixtureRequest, process: Processes, kafka: Broker, prefix: str, tmp_path: Path
) -> Iterator[Front]:
    """A proxy before two receivers that ask for all credentials, and take 127.0.0.2 alone."""
    made_topics(kafka, prefix)
    asked = {
        "PHONON_TOKEN": TOKEN,
        "PHONON_BASIC_AUTH": BASIC,
        "PHONON_ALLOWED_IPS": "127.0.0.2",
        "PHONON_TRUSTED_PROXIES": "127.0.0.1",
    }
    receivers = receivers_of(process, kafka, prefix, tmp_path, **asked)
    yield Front(request.param, process, tmp_path / "front", receivers)
    for receiver in receivers:
        receiver.child.kill()  # nobody waits for their answers


def test_what_is_passed_on_and_what_is_not(front: Front) -> None:
    def status(*arguments: Any, **named: Any) -> int:
        return front.post(*arguments, **named).status

    assert status() in TAKEN
    assert status(path=f"{PATH}/{quote(TOKEN, safe='')}?a=b") in TAKEN
    assert status(gzip.compress(SAMPLE), content_encoding="gzip") in TAKEN
    assert status(b" " * (LIMIT - len(SAMPLE)) + SAMPLE) in TAKEN
    length = f"{HEAD % 1}Content-Length: {LIMIT + 1}\r\n\r\n".encode()
    assert front.raw(length + b" " * (LIMIT + 1)).startswith(b"HTTP/1.1 413 ")
    assert status(path="/elsewhere") == 404

    refused = front.post(authorization="Basic " + base64.b64encode(b"user:another").decode())
    assert (refused.status, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert status(path=f"{PATH}/another") == 401
    assert status(source="127.0.0.3") == 401
    assert status(source="127.0.0.3", x_forwarded_for="127.0.0.2", forwarded="for=127.0.0.2") == 401

    for head, body in WAYS:
        assert re.findall(rb"HTTP/1.1 (\d{3})", front.raw(head + body))[-1:] == [b"200"]

    written = front.written
    assert written.count(" POST ") > 10
    assert not [secret for secret in (TOKEN, quote(TOKEN, safe=""), "another", BASIC) if secret in written]


HEAD = (
    f"POST {PATH}/{TOKEN} HTTP/1.%d\r\nHost: localhost\r\nConnection: close\r\n"
    f"Authorization: Basic {base64.b64encode(BASIC.encode()).decode()}\r\n"
)
WAYS = [
    (f"{HEAD % 1}Content-Length: {len(SAMPLE)}\r\n\r\n".encode(), SAMPLE),
    (f"{HEAD % 0}Content-Length: {len(SAMPLE)}\r\n\r\n".encode(), SAMPLE),
    (f"{HEAD % 1}Expect: 100-continue\r\nContent-Length: {len(SAMPLE)}\r\n\r\n".encode(), SAMPLE),
    (f"{HEAD % 1}Transfer-Encoding: chunked\r\n\r\n".encode(), b"%x\r\n%s\r\n0\r\n\r\n" % (len(SAMPLE), SAMPLE)),
]
"""The sample as senders send it: with a length, by HTTP/1.0, after asking whether it may, in chunks."""


def test_a_body_is_passed_on_whole_and_never_lies_on_disk(front: Front) -> None:
    """The largest, in chunks, which nginx keeps as they came; it has nowhere else to put them."""
    shutil.rmtree(front.folder / "bodies", ignore_errors=True)
    body = b" " * (LIMIT - len(SAMPLE)) + SAMPLE
    pieces = (body[at : at + 100] for at in range(0, LIMIT, 100))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    assert len(chunks) > LIMIT
    assert front.raw(WAYS[3][0] + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_who_writes_an_address_behind_his_body_is_still_himself(front: Front) -> None:
    """HAProxy passes trailers on, behind the X-Forwarded-For that it sets itself."""
    head, body = WAYS[3]
    body = body.removesuffix(b"\r\n") + b"X-Forwarded-For: 127.0.0.2\r\n\r\n"
    assert front.raw(head + body).startswith(b"HTTP/1.1 200 ")
    assert front.raw(head + body, source="127.0.0.3").startswith(b"HTTP/1.1 401 ")


def test_what_a_sender_did_not_wait_for_is_stored_even_where_the_first_receiver_dies(
    front: Front, kafka: Broker, prefix: str
) -> None:
    """All are sent before HAProxy's checks can have failed twice (1 s): with both receivers set aside it says 503."""
    for receiver in front.receivers:
        receiver.child.signal(signal.SIGSTOP)
    sent = {f"impatient-{number}" for number in range(4)}
    for flow_id in sent:
        body = json.dumps({"phonon-uuid": flow_id}).encode()
        assert front.raw(f"{HEAD % 1}Content-Length: {len(body)}\r\n\r\n".encode() + body, seconds=0.1) == b""
    front.receivers[0].child.kill()
    front.receivers[1].child.signal(signal.SIGCONT)
    eventually(lambda: sent <= flow_ids(kafka, prefix), 10)


def test_one_stranger_does_not_take_all_of_haproxy(
    process: Processes, kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """Who opens connections and says nothing: nginx drops the oldest itself. (The file has five times these.)"""
    made_topics(kafka, prefix)
    receivers = receivers_of(process, kafka, prefix, tmp_path)
    fewer = {"maxconn 1000": "maxconn 200", "conn_cur gt 500": "conn_cur gt 100"}
    front = Front("haproxy", process, tmp_path / "front", receivers, fewer)
    with ExitStack() as held:
        for _ in range(220):
            with suppress(ConnectionResetError):  # refused before we knew that it was made
                held.enter_context(
                    socket.create_connection(("127.0.0.1", front.port), 15, source_address=("127.0.0.3", 0))
                )
        assert front.post(path=PATH).status in TAKEN


def test_no_secret_is_logged_where_nginx_may_not_reach_a_receiver(
    process: Processes, kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    """As SELinux forbids it: nginx says that at level crit, with the request, and so it does of a missing socket."""
    made_topics(kafka, prefix)
    receivers = receivers_of(process, kafka, prefix, tmp_path, PHONON_TOKEN=TOKEN)
    unreachable = {f"127.0.0.1:{receivers[1].port}": f"unix:{tmp_path}/missing"}
    front = Front("nginx", process, tmp_path / "front", receivers, unreachable)
    assert {front.post().status for _ in range(4)} <= TAKEN
    assert "unix:" in front.written  # it was tried
    assert TOKEN not in front.written


def flow_ids(kafka: Broker, prefix: str) -> set[str]:
    return {value["flow_id"] for _, value in read_all(kafka.bootstrap_servers, prefix)}


def test_no_usual_proxy_keeps_a_connection_longer_than_we() -> None:
    assert max(KEPT_SECONDS.values()) < KEEP_ALIVE_SECONDS
