"""The pipeline says itself what would hold up the loop: many rows, and under pseudonymise much that is to be masked."""

import json
import time

import pytest

from app.pipeline import LARGE_BYTES, LARGE_COMMAS, LARGE_MASKED_BYTES, make_pipeline
from app.segment import Row
from benchmarks.load import sample_body
from schemas.settings import read_settings

PLAIN = make_pipeline(read_settings({}))
MASKS = make_pipeline(read_settings({"PHONON_NUMBERS": "pseudonymise", "PHONON_PSEUDONYM_KEY": "swordfish"}))
DOCUMENTS = [
    '{"phonon-uuid":"f","odd":"%s"}',
    '{"callDetails":"%s"}',
    '{"callDetails":[{"calleeNumber":"1"}],"recordingUrls":[{"recordedFileName":"%s"}]}',
]


def test_many_rows_are_large_and_an_ordinary_delivery_is_not() -> None:
    for pipeline in (PLAIN, MASKS):
        assert pipeline.is_large(b"," * (LARGE_COMMAS + 1))
        assert not pipeline.is_large(sample_body())
        assert not pipeline.is_large(sample_body(10))  # 5 kB


def test_much_text_is_large_whatever_a_body_may_hold() -> None:
    """1 MiB of digits or of bytes that are no UTF-8 takes 0.1 s, and a user may allow 8 MiB."""
    assert PLAIN.is_large(b'{"phonon-uuid":"f","odd":"%s"}' % (b"7" * LARGE_BYTES))


def test_much_text_is_large_only_where_it_is_masked() -> None:
    body = json.dumps({"phonon-uuid": "f", "odd": "a" * LARGE_MASKED_BYTES}).encode()
    assert MASKS.is_large(body)
    assert not PLAIN.is_large(body)


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("part", ["!@b", "a@b ", "1234567 ", "1", "@ a ", "\\n"])
def test_what_is_not_large_is_made_in_some_ten_milliseconds(document: str, part: str) -> None:
    body = (document % (part * ((LARGE_MASKED_BYTES - len(document)) // len(part)))).encode()
    assert not MASKS.is_large(body)
    spent = []
    for _ in range(5):
        begun = time.process_time()
        MASKS(Row(1_669_746_081_000, "", body))
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05  # 1 to 10 ms on a quiet machine
