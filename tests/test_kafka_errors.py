"""kafka_errors, and the workers' preflight: what a TLS server refuses, or shows, is said of the right certificate.

A TLS server of Python's stands for a broker, which ends a handshake the same way.
"""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from app.kafka_errors import refusal
from schemas.refusals import REFUSED_CERTIFICATE, UNTRUSTED_CERTIFICATE
from streams import connection, preflight
from tests.clusters import NEW_KEY, make_certificates, openssl

LOOPBACK = "127.0.0.1"
NEEDED = preflight.Needed("group", "flow", "metrics", (), (), "changelog", 1)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the clusters' tests, and one of the same CA that has expired, for servers and clients."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    openssl(folder, "req", *NEW_KEY, "-keyout", "old.key", "-out", "old.csr", "-subj", "/CN=old")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san"]
    openssl(folder, "x509", "-req", "-in", "old.csr", *signed, "-days", "-1", "-out", "old.crt")
    (folder / "old.pem").write_text((folder / "old.key").read_text() + (folder / "old.crt").read_text())
    return folder


class Server(socketserver.ThreadingTCPServer):
    """Ends without waiting for those who say nothing."""

    daemon_threads = True


@contextmanager
def server(folder: Path, certificate: str, version: ssl.TLSVersion) -> Iterator[str]:
    """A TLS server that wants a client's certificate signed by `ca`, and says nothing once it has one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.load_cert_chain(folder / certificate)
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                pass

    with Server((LOOPBACK, 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"{LOOPBACK}:{listening.server_address[1]}"
        listening.shutdown()


def told(properties: dict[str, str]) -> set[str]:
    """What librdkafka's errors mean, those that mean anything."""
    errors: list[KafkaError] = []
    settings: dict[str, Any] = {**properties, "error_cb": errors.append, "log_level": 0}
    client = AdminClient(settings)
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)
    client.poll(0)
    return {meant for error in errors if (meant := refusal(error))}


OLDER, PRESENT = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("version", "shown", "ours", "meant"),
    [
        (OLDER, "old.pem", None, UNTRUSTED_CERTIFICATE),
        (PRESENT, "old.pem", None, UNTRUSTED_CERTIFICATE),
        (PRESENT, "server.pem", None, REFUSED_CERTIFICATE),  # with 1.2 OpenSSL says only that the handshake failed
        (OLDER, "server.pem", "old", REFUSED_CERTIFICATE),
        (PRESENT, "server.pem", "old", REFUSED_CERTIFICATE),
        (OLDER, "server.pem", "other-ca", REFUSED_CERTIFICATE),
        (PRESENT, "server.pem", "other-ca", REFUSED_CERTIFICATE),
    ],
)
async def test_receiver_and_worker_say_whose_certificate_is_wrong(
    certificates: Path, version: ssl.TLSVersion, shown: str, ours: str | None, meant: str
) -> None:
    with server(certificates, shown, version) as address:
        properties = {"bootstrap.servers": address, "security.protocol": "SSL"}
        properties["ssl.ca.location"] = str(certificates / "ca.pem")
        if ours:
            properties["ssl.certificate.location"] = str(certificates / f"{ours}.pem")
            properties["ssl.key.location"] = str(certificates / f"{ours}.key")
        assert told(properties) == {meant}
        assert await preflight.prepared(connection.arguments(properties), NEEDED) == f"Kafka at {address} {meant}"
