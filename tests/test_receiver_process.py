"""The receiver as a user runs it: real processes, real sockets, a real Kafka."""

import asyncio
import base64
import errno
import http.client
import json
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.demo.broker import Broker
from app.demo.child import Child
from app.demo.ports import answers, free_port
from app.openapi import MEANINGS
from app.topics import create_topics
from benchmarks.processes import children
from schemas.settings import read_settings
from tests import patience
from tests.oracle import EVENTS, Oracle, Phase, read_all
from tests.processes import Processes

pytestmark = pytest.mark.broker

SAMPLE = (Path(__file__).parent / "deliveries" / "sample.json").read_bytes()
PATH = "/webhooks/phonon"
eventually = partial(patience.eventually, within_seconds=10)
NOWHERE = "127.0.0.1:9"


class Ports:
    """A receiver's addresses and settings."""

    def __init__(self, folder: Path, bootstrap_servers: str, prefix: str) -> None:
        self.webhook, self.management = free_port(), free_port()
        self.ready = f"http://127.0.0.1:{self.management}/readyz"
        self.spool = folder / "spool"
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "PHONON_TOPIC_PREFIX": prefix,
            "PHONON_PORT": str(self.webhook),
            "PHONON_MANAGEMENT_PORT": str(self.management),
            "PHONON_SPOOL_DIR": str(self.spool),
            "PHONON_LOG_FORMAT": "json",
        }

    def post(self, body: bytes = SAMPLE, path: str = PATH, **headers: str) -> tuple[int, dict[str, Any]]:
        return self.ask("POST", self.webhook, path, body, headers)

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.management, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ask(
        self, method: str, port: int, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()


@pytest.fixture
def ports(kafka: Broker, prefix: str, tmp_path: Path) -> Ports:
    create_topics(read_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}))
    return Ports(tmp_path, kafka.bootstrap_servers, prefix)


def exit_of(child: Child) -> tuple[int | None, str]:
    return child.wait(15), child.output.strip()


def raw(port: int, data: bytes, *, seconds: float = 5) -> bytes:
    """What comes back for these bytes until the other side hangs up or is silent for so long."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received


def test_a_delivery_goes_in_and_its_events_come_out(
    process: Processes, ports: Ports, kafka: Broker, prefix: str
) -> None:
    process("serve", settings=ports.settings, ready=ports.ready)
    status, reply = ports.post(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert (status, reply["stored"]) == (200, "kafka")
    records = [record for record, _ in read_all(kafka.bootstrap_servers, prefix)]
    assert sorted(records) == sorted([*EVENTS, "CallLeg"])
    assert ports.get("/healthz")[0] == 200
    assert "phonon_spool_rows 0" in ports.get("/metrics")[1]
    assert ports.get("/elsewhere")[0] == 404


def test_uvicorn_serves_it_as_well(process: Processes, ports: Ports) -> None:
    uvicorn = str(Path(sys.executable).with_name("uvicorn"))
    settings = ports.settings | {"PHONON_TOKEN": "a-token-in-the-path"}
    child = process.command([uvicorn, "app.main:app", "--port", str(ports.webhook)], settings=settings)
    child.wait_until(lambda: answers(ports.ready), within_seconds=20)
    eventually(lambda: answers(f"http://127.0.0.1:{ports.webhook}/openapi.json"))
    assert ports.post(path=f"{PATH}/a-token-in-the-path")[0] == 200
    child.stop()
    assert '"status": 200' in child.output
    assert "a-token-in-the-path" not in child.output


@pytest.mark.parametrize(("proxies", "status"), [("10.9.9.9", 401), ("127.0.0.1", 200)])
def test_uvicorn_believes_no_proxy_that_we_do_not(process: Processes, ports: Ports, proxies: str, status: int) -> None:
    """Left to itself it takes X-Forwarded-For from anyone on loopback."""
    uvicorn = str(Path(sys.executable).with_name("uvicorn"))
    settings = ports.settings | {"PHONON_ALLOWED_IPS": "10.0.0.0/8", "PHONON_TRUSTED_PROXIES": proxies}
    child = process.command([uvicorn, "app.main:app", "--port", str(ports.webhook)], settings=settings)
    child.wait_until(lambda: answers(ports.ready), within_seconds=20)
    eventually(lambda: answers(f"http://127.0.0.1:{ports.webhook}/openapi.json"))
    assert ports.post(x_forwarded_for="10.1.2.3")[0] == status
    assert ports.post(x_forwarded_for="10.1.2.3:4711")[0] == status
    assert ports.post(x_forwarded_for="10.1.2.3, 192.0.2.1")[0] == 401
    child.stop()


def test_a_missing_topic_is_a_reason_and_deliveries_are_spooled(
    process: Processes, kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    ports = Ports(tmp_path, kafka.bootstrap_servers, prefix)
    process("serve", settings=ports.settings, ready=ports.ready)
    assert "is missing: phonon-events topics create" in ports.get("/readyz")[1]
    assert ports.post()[0] == 202
    create_topics(read_settings({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PHONON_TOPIC_PREFIX": prefix}))
    eventually(lambda: not list(ports.spool.glob("*.spool")))
    assert ports.post()[0] == 200


BAD_SETTINGS = (
    ({"PHONON_HOST": "0.0.0.0"}, "no credential is set"),
    ({"PHONON_NO_SUCH": "1"}, "PHONON_NO_SUCH"),
    ({"PHONON_SIGNING_SECRET": "whsec_?"}, "PHONON_SIGNING_SECRET"),
    ({"KAFKA_ACKS": "1"}, "KAFKA_ACKS"),
    ({"KAFKA_NO_SUCH": "1"}, "no.such"),
    ({"KAFKA_MESSAGE_TIMEOUT_MS": "1000"}, "KAFKA_MESSAGE_TIMEOUT_MS"),
    ({"PHONON_SPOOL_DIR": "/proc/none"}, "PHONON_SPOOL_DIR"),
    ({"PHONON_PORT": "9100"}, "PHONON_MANAGEMENT_PORT"),
)


def test_bad_settings_end_with_2_and_one_line(process: Processes) -> None:
    base = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}
    children = [process.command(serve_command(), settings=base | settings) for settings, _ in BAD_SETTINGS]
    for child, (_, line) in zip(children, BAD_SETTINGS, strict=True):
        code, output = exit_of(child)
        assert code == 2
        assert line in output
        assert len(output.splitlines()) == 1


def serve_command() -> list[str]:
    return [str(Path(sys.executable).with_name("phonon-events")), "serve"]


def test_a_taken_port_ends_with_1_and_one_line(process: Processes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "PHONON_PORT": str(taken.getsockname()[1])}
        code, output = exit_of(process.command(serve_command(), settings=settings))
    assert code == 1
    assert "can't listen on 127.0.0.1" in output
    assert len(output.splitlines()) == 1


def test_a_taken_management_port_is_said_and_kills_nobody(process: Processes, ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", ports.management)):
        child = process("serve", settings=ports.settings)
        eventually(lambda: "can't be served" in child.output)
        eventually(lambda: answers(f"http://127.0.0.1:{ports.webhook}/openapi.json"))  # it is said just before that
        assert ports.post()[0] in (200, 202)
    child.wait_until(lambda: answers(ports.ready), within_seconds=10)
    assert child.output.count("can't be served") == 1


def test_a_disk_that_takes_no_lock_takes_the_management_port_from_nobody(process: Processes, ports: Ports) -> None:
    (ports.spool / f"management-{ports.management}.lock").mkdir(parents=True)
    process("serve", settings=ports.settings, ready=ports.ready)


def test_two_workers_are_one_receiver(process: Processes, ports: Ports) -> None:
    child = process("serve", "--workers", "2", settings=ports.settings, ready=ports.ready)
    eventually(lambda: len(workers_of(child)) == 2)
    for _ in range(40):
        assert ports.post()[0] == 200
    eventually(lambda: 'phonon_deliveries_total{status="200"} 40.0' in ports.get("/metrics")[1])
    victims = workers_of(child)
    os.kill(victims[0], signal.SIGKILL)
    eventually(lambda: set(workers_of(child)) - set(victims))
    os.kill(victims[1], signal.SIGKILL)
    eventually(lambda: len(set(workers_of(child)) - set(victims)) == 2)
    eventually(lambda: answers(ports.ready))
    assert ports.post()[0] == 200
    eventually(lambda: 'phonon_deliveries_total{status="200"} 41.0' in ports.get("/metrics")[1])
    assert child.stop() == 0


def test_two_workers_that_stop_refuse_who_comes_too_late(process: Processes, ports: Ports) -> None:
    """While the parent held the socket, such a sender was connected, and waited until the last worker was gone."""
    patient = ports.settings | {"PHONON_ANSWER_WITHIN": "16"}
    child = process("serve", "--workers", "2", settings=patient, ready=ports.ready)
    with socket.create_connection(("127.0.0.1", ports.webhook)) as slow:  # its body may take 8 s: one worker lives on
        slow.sendall(b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n{" % PATH.encode())
        child.signal(signal.SIGTERM)
        eventually(lambda: refuses(ports.webhook))
        assert not select.select([slow], [], [], 0)[0], "refused only when the last worker was gone"
        slow.sendall(b" not JSON")
        assert slow.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert child.wait(10) == 0


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_a_stop_while_a_dead_worker_is_replaced_reaches_the_new_one(process: Processes, ports: Ports) -> None:
    child = process("serve", "--workers", "2", settings=ports.settings, ready=ports.ready)
    eventually(lambda: len(workers_of(child)) == 2)
    os.kill(workers_of(child)[0], signal.SIGKILL)
    eventually(lambda: "starting another" in child.output)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(10) == 0


def test_workers_whose_parent_was_killed_end(process: Processes, ports: Ports) -> None:
    """Else they keep the port, and nobody replaces or stops them."""
    child = process("serve", "--workers", "2", settings=ports.settings, ready=ports.ready)
    eventually(lambda: len(workers_of(child)) == 2)
    os.kill(child.pid, signal.SIGKILL)
    try:
        eventually(lambda: refuses(ports.webhook))
        eventually(lambda: workers_of(child) == [])
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def test_an_interrupt_while_workers_start_is_heeded_by_all_without_a_word(process: Processes, ports: Ports) -> None:
    """Ctrl-C goes to all that the terminal runs; those that still imported our modules showed where they were."""
    child = process("serve", "--workers", "2", settings=ports.settings)
    eventually(lambda: sum(map(imports_ours, children(child.pid))) == 2)
    child.signal(signal.SIGINT)
    assert child.wait(20) == 0


def imports_ours(pid: int) -> bool:
    return b"msgspec" in Path(f"/proc/{pid}/maps").read_bytes()


def workers_of(child: Child) -> list[int]:
    """The processes that listen: those that said so and live."""
    pids = [int(pid) for pid in re.findall(r'"listening".*"pid": (\d+)', child.output)]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()]


def test_slow_and_broken_senders_are_cut_off_and_hurt_nobody(process: Processes, ports: Ports) -> None:
    process(
        "serve", settings=ports.settings | {"PHONON_ANSWER_WITHIN": "2", "PHONON_STALL_AFTER": "0.5"}, ready=ports.ready
    )
    trickles = [socket.create_connection(("127.0.0.1", ports.webhook)) for _ in range(200)]
    for trickle in trickles[:100]:
        trickle.sendall(b"POST /webhooks/phonon HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n{")
    for trickle in trickles[100:]:
        trickle.sendall(b"POST /webhooks")
    began = time.monotonic()
    assert ports.post()[0] == 200
    assert time.monotonic() - began < 1
    for trickle in trickles[:100]:
        trickle.settimeout(3)
        assert trickle.recv(4096).startswith(b"HTTP/1.1 503 ")
    for trickle in trickles[100:]:
        trickle.settimeout(12)
        assert recv_end(trickle) == b""
    for trickle in trickles:
        trickle.close()
    assert ports.post()[0] == 200


def recv_end(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


NO_HTTP = (
    b"garbage\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /webhooks/phonon HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /webhooks/phonon HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /webhooks/phonon HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /webhooks/phonon HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /webhooks/phonon HTTP/9.9\r\n\r\n",
    b"GET /" + b"x" * 200_000,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 30_000 + b"\r\n",
    b"POST http:// HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
    b"POST /\xff\xfe HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
    b"POST /%ff%00 HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
)


@pytest.mark.parametrize("data", NO_HTTP)
def test_what_is_no_http_is_told_so(receiver: Ports, data: bytes) -> None:
    received = raw(receiver.webhook, data, seconds=1)
    statuses = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)}
    assert statuses <= set(MEANINGS)
    assert b"Internal Server Error" not in received


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
SENT = b'{"keys": []}'
OFFERS = {
    "sized": b"Content-Length: %d\r\n%s\r\n%s" % (len(SENT), UPGRADE, SENT),
    "chunked": b"Transfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (UPGRADE, len(SENT), SENT),
}


@pytest.mark.parametrize("pieces", [1, 1_000], ids=["at once", "in pieces"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_an_offer_to_upgrade_is_declined_and_its_body_read(receiver: Ports, offer: bytes, pieces: int) -> None:
    """Java's own client offers h2c where there is no TLS, and the next request comes behind it."""
    request = b"POST %s HTTP/1.1\r\nHost: t\r\n" % PATH.encode()
    last = request + b"Connection: close\r\nContent-Length: 2\r\n\r\n[]"
    data = (request + offer) * 2 + last
    size = -(-len(data) // pieces)
    with socket.create_connection(("127.0.0.1", receiver.webhook), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), size):
            connection.sendall(data[at : at + size])
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == [b"202", b"202", b"400"]


def test_who_closes_his_half_of_the_connection_is_answered(receiver: Ports) -> None:
    with socket.create_connection(("127.0.0.1", receiver.webhook), timeout=5) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s" % (PATH.encode(), len(SENT), SENT)
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")
        assert connection.recv(65536) == b""


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """A receiver without Kafka, shared by the tests of this module: everything goes to its spool."""
    folder = tmp_path_factory.mktemp("receiver")
    ports, processes = Ports(folder, NOWHERE, "none"), Processes(folder)
    try:
        processes("serve", settings=ports.settings, ready=ports.ready)
        yield ports
    finally:
        processes.stop_all()


def test_an_unread_large_body_still_sees_its_status(receiver: Ports) -> None:
    body = b"x" * 3_000_000
    head = b"POST %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    assert raw(receiver.webhook, head % (PATH.encode(), len(body)) + body).startswith(b"HTTP/1.1 413 ")
    expecting = b"POST %s HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    assert raw(receiver.webhook, expecting % (PATH.encode(), len(body))).startswith(b"HTTP/1.1 413 ")


def test_a_large_delivery_does_not_hold_up_the_others(process: Processes, ports: Ports) -> None:
    process("serve", settings=ports.settings, ready=ports.ready)
    assert ports.post()[0] == 200
    large = json.dumps({"keys": [{"name": str(n)} for n in range(40_000)]}).encode()

    async def both() -> tuple[tuple[int, Any], list[float]]:
        sent = asyncio.create_task(asyncio.to_thread(ports.post, large))
        seconds = []
        while not sent.done():
            began = time.monotonic()
            await asyncio.to_thread(ports.post)
            seconds.append(time.monotonic() - began)
        return await sent, seconds

    (status, reply), seconds = asyncio.run(both())
    assert status in (200, 202)
    assert reply["stored"] in ("kafka", "spool")
    assert max(seconds) < 1.5, "others wait for a large delivery"
    eventually(lambda: not list(ports.spool.glob("*.spool")), within_seconds=30)


def test_nothing_that_was_sent_is_in_logs_or_metrics(process: Processes, ports: Ports) -> None:
    """A whole run: spooled, drained, set aside, healthy, refused; every value sent is looked for."""
    secrets = {"PHONON_TOKEN": "hidden-token-1", "PHONON_BASIC_AUTH": "user:hidden-word-2"}
    settings = ports.settings | secrets | {"PHONON_LOG_LEVEL": "debug"}
    word = "Basic " + base64.b64encode(b"user:hidden-word-2").decode()
    path = f"{PATH}/hidden-token-1"
    odd = {
        "phonon-uuid": "+919812345678",
        "callDetails": ["odd value"],
        "keys": [{"name": ["listed"], "value": {"a": "deep value"}}],
    }
    first = process("serve", settings=settings | {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, ready=ports.ready)
    assert [ports.post(path=path, authorization=word)[0] for _ in range(2)] == [202, 202]
    first.kill()
    spooled = next(ports.spool.glob("*.spool"))
    spooled.write_bytes(spooled.read_bytes().replace(b"phonon-uuid", b"phonon-guid", 1))

    child = process("serve", settings=settings, ready=ports.ready)
    eventually(lambda: not list(ports.spool.glob("*.spool")))
    assert len(list((ports.spool / "aside").iterdir())) == 1
    assert ports.post(path=path, authorization=word)[0] == 200
    assert ports.post(json.dumps(odd).encode(), path=path, authorization=word)[0] == 200
    assert ports.post(path=PATH + "/wrong-token-3", authorization=word)[0] == 401
    assert ports.post(b'{"nothing known": "some value"}', path=path, authorization=word)[0] == 422
    assert ports.post(b'["not json', path=path, authorization=word)[0] == 400
    metrics = ports.get("/metrics")[1]
    child.stop()

    values = set(texts(json.loads(SAMPLE))) | set(texts(odd)) | {"some value", "not json", "nothing known"}
    values |= {"hidden-token-1", "hidden-word-2", "wrong-token-3", word.removeprefix("Basic ")}
    shown = first.output + child.output + metrics
    expected = {"6629a6f5-af55-41e8-a8a4-9b7b73fcf5c4"}
    assert {value for value in values if len(value) > 5 and value in shown} == expected
    assert shown.count("6629a6f5") == 3, "a line each for those that were answered"
    assert "phonon_set_aside_total 1.0" in metrics
    assert "phonon_drained_total 1.0" in metrics


def texts(value: Any) -> list[str]:
    """All texts and numbers in a JSON value, as texts."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


async def test_memory_and_descriptors_stay_flat(process: Processes, ports: Ports) -> None:
    child = process("serve", settings=ports.settings, ready=ports.ready)
    oracle = Oracle(ports.webhook, seed=1, rate=200)
    phase = Phase("warming")
    for _ in range(200):
        await oracle.one(phase)
    before = (resident_bytes(child.pid), descriptors(child.pid))
    async with oracle.phase("load") as load:
        await asyncio.sleep(3)
    assert load.answers["200"] > 100
    assert resident_bytes(child.pid) < before[0] + 30_000_000
    assert descriptors(child.pid) <= before[1] + 70


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_an_orphaned_spool_is_drained_by_hand(process: Processes, ports: Ports, kafka: Broker, prefix: str) -> None:
    child = process("serve", settings=ports.settings | {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE}, ready=ports.ready)
    assert ports.post()[0] == 202
    child.kill()
    drain = process("spool", "drain", settings=ports.settings)
    assert drain.wait(20) == 0, drain.output
    assert not list(ports.spool.glob("*.spool"))
    assert len(list(read_all(kafka.bootstrap_servers, prefix))) == 8
