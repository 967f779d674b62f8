"""The pure middle of the receiver, step by step, on the provider's sample: µs of CPU each, no network."""

import json
import time
from collections.abc import Callable
from statistics import median

from app.credentials import Credentials, verify_signature
from app.delivery import read_document
from app.records import Records
from app.split import Rules, split
from benchmarks.load import sample_body
from schemas import decode, encode
from schemas.settings import read_settings

#: Two seconds after the sample's last hang-up, ms: at 0 every event would be in the future, which is another way.
RECEIVED_AT = 1_669_746_081_000
SECONDS = 0.4
ROUNDS = 5


def steps() -> list[tuple[str, Callable[[], object]]]:
    """Name and call of each step."""
    settings, body = read_settings({}), sample_body()
    rules = Rules(zone=settings.timezone, region=settings.region)
    document, records = read_document(body), Records("phonon")
    parts = split(document, received_at=RECEIVED_AT, rules=rules)
    values = [record.value for record in records(parts)]
    decoded = [decode(value) for value in values]
    key = Credentials(signing=(b"benchmarks on loopback",))
    headers = {b"webhook-timestamp": b"0", b"webhook-id": b"msg", b"webhook-signature": b"v1,none"}

    def refused() -> None:
        try:
            verify_signature(key, headers, body, now=0)
        except Exception:  # noqa: BLE001 - a wrong signature costs what a right one does
            return

    return [
        ("verify: one signature over the body", refused),
        ("read: bytes to document", lambda: read_document(body)),
        ("(json.loads alone)", lambda: json.loads(body)),
        ("split: document to 8 events", lambda: split(document, received_at=RECEIVED_AT, rules=rules)),
        ("encode: 8 events to records with headers", lambda: records(parts)),
        ("(fastavro: the same 8 from dicts)", lambda: [encode(name, fields) for name, fields in decoded]),
        ("decode: 8 values to dicts, fastavro", lambda: [decode(value) for value in values]),
    ]


def measure() -> list[tuple[str, str]]:
    """Lines of the table."""
    return [(name, f"{cpu_us(call):.1f}") for name, call in steps()]


def cpu_us(call: Callable[[], object]) -> float:
    """Median over rounds of the CPU time of one call, µs."""
    call()
    rounds: list[float] = []
    for _ in range(ROUNDS):
        calls, begun = 0, time.process_time()
        while (used := time.process_time() - begun) < SECONDS / ROUNDS:
            for _ in range(20):
                call()
            calls += 20
        rounds.append(1e6 * used / calls)
    return median(rounds)


COLUMNS = ("step", "CPU µs")
