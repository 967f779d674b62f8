"""The records that others rely on: documented, compatible with all that was released, and encoded as Avro says."""

import io
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import fastavro.utils
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from app import events
from schemas import SCHEMAS, Undecodable, decode, encode, encoder
from schemas.topics import BY_RECORD, EVENT_KINDS, TOPICS
from tests.dashboard_fake import lines
from tests.flow_oracle import flow

FOLDER = Path(schemas.__file__).parent
RELEASED = sorted((FOLDER / "released").glob("*.avsc"))
ENCODERS = {name: encoder(name) for name in SCHEMAS}

LONGS = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "long": LONGS | st.integers(0, 2**42),
    "int": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "null": st.none(),
}


def values(type_: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any value of an Avro type."""
    if isinstance(type_, list):
        return st.one_of([values(branch, named) for branch in type_])
    if isinstance(type_, str):
        return PLAIN[type_] if type_ in PLAIN else values(named[type_], named)
    if "name" in type_:
        named[type_["name"]] = type_
    if type_["type"] == "enum":
        return st.sampled_from(type_["symbols"])
    if type_["type"] == "array":
        return st.lists(values(type_["items"], named), max_size=3)
    if type_["type"] == "map":
        return st.dictionaries(st.text(), values(type_["values"], named), max_size=3)
    if type_["type"] == "record":
        return st.fixed_dictionaries({field["name"]: values(field["type"], named) for field in type_["fields"]})
    return values(type_["type"], named)


RECORDS = {name: values(schema, {}) for name, schema in SCHEMAS.items()}


def objects(value: Any) -> Any:
    """The same value, with records as objects; maps stay dicts (of all maps, ours are called extra)."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: item if name == "extra" else objects(item) for name, item in value.items()})
    return [objects(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(st.data())
def test_the_compiled_encoder_writes_what_fastavro_writes(name: str, data: Any) -> None:
    value = data.draw(RECORDS[name])
    assert ENCODERS[name](objects(value)) == encode(name, value)


@pytest.mark.parametrize("characters", [63, 64, 4096, 8191, 8192, 8193, 1_100_000])
def test_texts_of_any_length(characters: int) -> None:
    """Those that are not in the encoder's table too."""
    texts = dict.fromkeys(("event_id", "flow_id", "did", "name", "value"), "x" * characters)
    value = texts | {"occurred_at": 1, "received_at": 2, "anomalies": [texts["name"]], "extra": {texts["name"]: "y"}}
    expected = encode("FlowKey", value)
    assert ENCODERS["FlowKey"](objects(value)) == expected
    assert encoder("FlowKey", given=("name",))(objects(value), texts["name"].encode()) == expected


@given(st.data())
def test_texts_may_be_given_as_bytes(data: Any) -> None:
    value = data.draw(RECORDS["FlowKey"])
    given_bytes = [value[name].encode() for name in ("did", "name")]
    others = objects({name: item for name, item in value.items() if name not in ("did", "name")})
    assert encoder("FlowKey", given=("did", "name"))(others, *given_bytes) == encode("FlowKey", value)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(st.data())
def test_a_record_survives_encode_and_decode(name: str, data: Any) -> None:
    value = data.draw(RECORDS[name])
    assert decode(encode(name, value)) == (name, value)


@given(st.binary(), st.sampled_from(sorted(SCHEMAS)))
def test_foreign_bytes_are_undecodable_and_nothing_worse(data: bytes, name: str) -> None:
    for value in (data, schemas.SINGLE_OBJECT + data, schemas.HEADERS[name] + data):
        try:
            decode(value)
        except Undecodable as error:
            assert str(error)  # noqa: PT017 - either outcome is right, but a refusal has a reason
    with pytest.raises(Undecodable):
        decode(None)


def test_the_frame_is_avros_single_object_encoding() -> None:
    """Marker, then the fingerprint as the specification's own reader for it computes it."""
    value = encode("FlowKey", next(iter(fastavro.utils.generate_many(schemas._PRESENT["FlowKey"], 1))))
    name, plain = "FlowKey", fastavro.parse_schema(SCHEMAS["FlowKey"], named_schemas={})
    canonical = fastavro.schema.to_parsing_canonical_form(plain)
    assert value[:2] == b"\xc3\x01"
    assert value[2:10] == _rabin(canonical.encode()).to_bytes(8, "little"), name


def _rabin(data: bytes) -> int:
    """CRC-64-AVRO, bit by bit, from the specification's definition."""
    empty = 0xC15D213AA4D7A795
    fingerprint = empty
    for byte in data:
        fingerprint ^= byte
        for _ in range(8):
            fingerprint = (fingerprint >> 1) ^ (empty if fingerprint & 1 else 0)
    return fingerprint


def _fields(schema: Any) -> list[dict[str, Any]]:
    """The fields of a record and of all records inside it."""
    if isinstance(schema, list):
        return [field for item in schema for field in _fields(item)]
    if not isinstance(schema, dict):
        return []
    inner = [field for key in ("type", "items", "values") if key in schema for field in _fields(schema[key])]
    own = schema.get("fields", [])
    return [*own, *inner, *(field for item in own for field in _fields(item["type"]))]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_field_says_what_it_is_and_optional_means_null(name: str) -> None:
    schema = SCHEMAS[name]
    assert (schema["namespace"], schema["name"]) == ("phonon.v1", name)
    for field in _fields(schema):
        assert len(field["doc"]) > 15, field["name"]
        if isinstance(field["type"], list):
            assert (field["type"][0], field["default"]) == ("null", None), field["name"]
        if field["name"].endswith("_at") or field["name"] in ("as_of", "start", "end"):
            assert "ms since 1970 UTC" in field["doc"], field["name"]
            assert "timestamp-millis" in json.dumps(field["type"]), field["name"]
        if field["name"].endswith("_ms"):
            assert "ms" in field["doc"], field["name"]


def test_enums_have_unknown_as_their_default() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.avsc"))
    found = [schema for path in FOLDER.glob("*.avsc") for schema in _enums(json.loads(path.read_text()))]
    assert len(found) == text.count('"enum"') > 0
    assert all(enum["default"] == "UNKNOWN" and "UNKNOWN" in enum["symbols"] for enum in found)


def _enums(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [enum for item in schema for enum in _enums(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "enum" else []
    return own + [enum for item in schema.values() for enum in _enums(item)]


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
@given(st.data())
def test_what_was_released_is_read_now_and_reads_what_is_written_now(path: Path, data: Any) -> None:
    """FULL_TRANSITIVE: in both directions, with every version that was ever released."""
    old = json.loads(path.read_text())
    new = SCHEMAS[old["name"]]
    for writer, reader in ((old, new), (new, old)):
        written, read = schemas._parsed(writer), schemas._parsed(reader)
        value = data.draw(values(writer, {}))
        out = io.BytesIO()
        fastavro.schemaless_writer(out, written, value)
        found: Any = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), written, read)
        assert _shared(found, value) == _shared(value, found)


def _shared(value: Any, other: Any) -> Any:
    """The value without fields that the other does not have, however deep."""
    if isinstance(value, dict):
        return {name: _shared(value[name], other[name]) for name in value.keys() & other.keys()}
    if isinstance(value, list):
        return [_shared(one, two) for one, two in zip(value, other, strict=True)]
    return value


@pytest.mark.parametrize(
    ("name", "value"),
    [("Flow", encode("Flow", flow(random.Random(1), "A", 0))), ("DidMetrics", lines(1)[0].value(1))],
    ids=["Flow", "DidMetrics"],
)
def test_an_older_program_reads_newer_records_once_it_has_their_schemas(
    name: str, value: bytes, tmp_path: Path
) -> None:
    """What docs/upgrade.md stands on: without the newer files they are unknown, with them they are its own records."""
    first, *later = sorted((FOLDER / "released").glob(f"{name}.*.avsc"))
    older = tmp_path / "schemas"
    shutil.copytree(FOLDER, older, ignore=shutil.ignore_patterns(*(path.name for path in later)))
    shutil.copy(first, older / f"{name}.avsc")
    program = [sys.executable, "-c", f"import schemas; print(*schemas.decode({value!r})[1])"]
    alone = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"Undecodable: unknown schema fingerprint {schemas.HEADERS[name][2:].hex()}" in alone.stderr
    for path in later:
        shutil.copy(path, older / "released")
    told = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [field["name"] for field in json.loads(first.read_text())["fields"]]


def test_the_present_version_of_every_record_is_released() -> None:
    released = {schemas.header(json.loads(path.read_text())) for path in RELEASED}
    assert set(schemas.HEADERS.values()) <= released, "copy it to schemas/released/<Record>.<n>.avsc"


def test_the_structs_have_the_fields_of_the_schemas() -> None:
    for topic in TOPICS:
        struct = getattr(events, topic.record, None)
        if struct is not None:
            in_headers = {"event_id"} if struct is events.Rejected else set()
            fields = {field["name"] for field in SCHEMAS[topic.record]["fields"]}
            assert set(struct.__struct_fields__) == fields | in_headers
    flow_leg = next(field for field in SCHEMAS["Flow"]["fields"] if field["name"] == "legs")["type"]["items"]
    assert {field["name"] for field in flow_leg["fields"]} <= set(events.CallLeg.__struct_fields__)
    assert issubclass(events.Event, msgspec.Struct)


def test_each_record_has_its_topic() -> None:
    assert {topic.schema for topic in BY_RECORD.values()} == set(SCHEMAS)
    assert {name for name, topic in BY_RECORD.items() if not topic.same_as} == set(SCHEMAS)
    assert [topic.kind for topic in TOPICS if topic.kind in EVENT_KINDS] == list(EVENT_KINDS)
