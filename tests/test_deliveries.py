"""Golden deliveries: each awkward case is a pair of files, what was sent and the events it must become.

To add one, write `deliveries/<case>.json`, run `python -m tests.test_deliveries <case>`, and review what it writes.
"""

import json
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.delivery import read_document
from app.records import Records
from app.split import Rules, split
from schemas import decode

FOLDER = Path(__file__).parent / "deliveries"
CASES = sorted(path.stem for path in FOLDER.glob("*.json") if not path.name.endswith(".events.json"))
RECEIVED_AT = 1_669_746_081_000  # 2022-11-29T23:51:21+05:30, two seconds after the sample's last hang-up
RULES = Rules(zone=ZoneInfo("Asia/Kolkata"), region="IN")


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The records of a delivery as a consumer reads them: encoded, decoded, with their key and record name."""
    records = Records("phonon")(split(read_document(body), received_at=RECEIVED_AT, rules=RULES))
    decoded = [(record.key, *decode(record.value)) for record in records]
    return [{"record": name, "partition_key": key and key.decode(), **fields} for key, name, fields in decoded]


@pytest.mark.parametrize("case", CASES)
def test_a_delivery_becomes_exactly_its_events(case: str) -> None:
    expected = json.loads((FOLDER / f"{case}.events.json").read_text(encoding="utf-8"))
    assert events_of((FOLDER / f"{case}.json").read_bytes()) == expected


def test_there_are_enough_awkward_cases() -> None:
    assert len(CASES) > 25


if __name__ == "__main__":
    for name in sys.argv[1:]:
        events = events_of((FOLDER / f"{name}.json").read_bytes())
        (FOLDER / f"{name}.events.json").write_text(json.dumps(events, indent=1, ensure_ascii=False) + "\n")
