"""JSON text: as deep as is allowed and no deeper, and what Python can't hold stays as it came."""

import json
import time
import timeit
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_text import DEEPEST, NotJson, canonical, read, write
from tests.json_values import ANYTHING


@given(st.lists(st.sampled_from(["[", '{"a":', '[1,"[[",']), min_size=DEEPEST - 2, max_size=DEEPEST + 2))
def test_as_deep_as_is_allowed_and_no_deeper(opened: list[str]) -> None:
    closed = "".join("}" if begun.startswith("{") else "]" for begun in reversed(opened))
    body = f"{''.join(opened)}0{closed}".encode()
    if len(opened) <= DEEPEST:
        assert write(read(body)).encode() == body
    else:
        with pytest.raises(NotJson, match="nested deeper than 100 levels"):
            read(body)


def test_width_is_no_depth() -> None:
    wide = [[{"a": "[{" * 200}] for _ in range(200)]
    assert read(json.dumps(wide).encode()) == wide


#: The text of a value, and what it is read as: itself, or its text where Python has no value for it.
READ: list[tuple[str, Any]] = [
    ("1e308", 1e308),
    ("1e400", msgspec.Raw(b"1e400")),
    ("-1e400", msgspec.Raw(b"-1e400")),
    ('"\\ud800"', msgspec.Raw(b'"\\ud800"')),
    ('"\\ud83d\\ude00"', "\U0001f600"),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=[text[:12] for text, _ in READ])
@pytest.mark.parametrize("beside", ["0", "1e400", '"\\udc00"'], ids=["alone", "beside a number", "beside a text"])
def test_what_python_has_no_value_for_stays_its_text(text: str, value: Any, beside: str) -> None:
    """Beside something odd all of a document is read another way, and that must change nothing."""
    found = read(f'{{"a":{{"b":[{text}]}},"c":{beside}}}'.encode())["a"]
    assert found == {"b": [value]}
    assert type(found["b"][0]) is type(value)
    assert json.loads(write(found)) == json.loads(f'{{"b":[{text}]}}')


@pytest.mark.parametrize("digits", [1, 18, 19, 20, 400, 4300, 4301, 9000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_whole_number_is_the_same_beside_something_odd(digits: int, sign: str) -> None:
    """An id of 19 digits that is sent as a number stays one where a message beside it was cut."""
    text = sign + "9" * digits
    alone, (beside, _) = read(f"[{text}]".encode())[0], read(f"[{text},1e400]".encode())
    assert type(beside) is type(alone)
    assert write(beside) == write(alone) == text


@pytest.mark.parametrize("number", ["1e300", "9e-310", "1e400"])
def test_no_number_takes_much_longer_than_others(number: str) -> None:
    """A body of such numbers would stop the receiver: while it is decoded in C nothing else can run."""

    def seconds(one: str) -> float:
        body = f"[{','.join([one] * 20_000)}]".encode()
        return min(timeit.repeat(lambda: read(body), number=1, repeat=3, timer=time.process_time))

    assert seconds(number) < 12 * seconds("1.5")


def test_bytes_that_are_no_text_stand_there_one_by_one() -> None:
    found = read(b'{"a\xff":"b\xe2\x82","c":"d"}')
    assert found == {"a\\udcff": msgspec.Raw(b'"b\\udce2\\udc82"'), "c": "d"}


@pytest.mark.parametrize(
    "body", [b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1,]", b"01", b"'a'", b"", b"\xef\xbb\xbf"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        read(body)


def test_a_mark_of_byte_order_is_passed_over() -> None:
    assert read(b"\xef\xbb\xbf[1]") == [1]


@given(ANYTHING)
def test_one_text_for_all_that_mean_the_same(value: Any) -> None:
    """Keys in any order, null as absent; but a null in a list is one, and keeps its place."""
    one = canonical({"b": None, "a": [value, None, {"d": 1, "c": None}]})
    assert one == canonical({"a": [value, None, {"d": 1}]})
    assert list(json.loads(one)) == ["a"]
    assert json.loads(one)["a"][1:] == [None, {"d": 1}]


def test_canonical_text_is_sorted_and_has_no_white_space() -> None:
    assert canonical({"b": 1, "a": {"d": [2, None], "c": None}}) == '{"a":{"d":[2,null]},"b":1}'
