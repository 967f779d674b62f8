"""The records that other teams rely on, and the codec: the only code that the receiver and the workers share.

The .avsc files beside this one are loaded once. A value on a topic is framed so that a consumer finds its schema: Avro
single-object encoding (C3 01, then the 8-byte CRC-64-AVRO fingerprint of the schema, little-endian, then the body), or,
with a schema registry, Confluent's wire format (00, then the registry's 4-byte id, big-endian, then the body). Both are
read, mixed as they come. The codec does no I/O: whoever knows a registry tells it what an id means (registry.py).
Every version that was ever released stays readable: it is kept in `released/`, and read as the present one.

Times are ints in both directions: ms since 1970 UTC (Avro timestamp-millis), never datetime objects.
Source: Avro specification 1.12, "Single-object encoding" and "Schema fingerprints"; Confluent's "Wire format".
"""

import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.encoding import compile_encoder

SINGLE_OBJECT: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
WIRE_FORMAT: Final = 0
WIRE_HEADER_BYTES: Final = 5
FOLDER: Final = Path(__file__).parent

Schema = dict[str, Any]


class Written(NamedTuple):
    """What a value was written with: the record's name, its single-object header, the schema as fastavro wants it."""

    name: str
    header: bytes
    schema: Any


#: What a registry's id means, without I/O. Raises UnknownId before it was looked up, Undecodable if it means nothing.
Resolve = Callable[[int], Written]


class Undecodable(ValueError):  # noqa: N818 - it names what the value is
    """A value that is no record of ours: no known framing, no known schema, or a body that does not fit it."""


class UnknownId(LookupError):  # noqa: N818 - it names what is not known
    """A registry's id that was not looked up yet: whether the value is good will be known once it is."""

    def __init__(self, id_: int) -> None:
        super().__init__(f"schema id {id_} was not looked up yet")
        self.id = id_


def _load(path: Path) -> Schema:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _parsed(schema: Schema) -> Any:
    """The schema as fastavro wants it, with times as plain longs."""
    plain = json.loads(json.dumps(schema), object_hook=lambda d: {k: v for k, v in d.items() if k != "logicalType"})
    return fastavro.parse_schema(plain, named_schemas={})


def header(schema: Schema) -> bytes:
    """The single-object header of a schema: marker and fingerprint, 10 bytes."""
    return SINGLE_OBJECT + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def registry_header(id_: int) -> bytes:
    """The header of Confluent's wire format: 00 and a registry's id, 5 bytes."""
    return struct.pack(">BI", WIRE_FORMAT, id_)


def registry_id(value: bytes) -> int | None:
    """The registry's id in a value of Confluent's wire format; None where it is none."""
    if len(value) >= WIRE_HEADER_BYTES and value[0] == WIRE_FORMAT:
        return int.from_bytes(value[1:WIRE_HEADER_BYTES], "big")
    return None


def canonical_text(schema: Schema) -> str:
    """The one text under which a schema is registered: to a registry, other white space is another version."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


#: Record name -> its .avsc as a dict, as registries want it.
SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType({p.stem: _load(p) for p in sorted(FOLDER.glob("*.avsc"))})
#: Record name -> 10-byte header of its present version.
HEADERS: Final[Mapping[str, bytes]] = MappingProxyType({name: header(schema) for name, schema in SCHEMAS.items()})

_PRESENT: Final = {name: _parsed(schema) for name, schema in SCHEMAS.items()}
_WRITTEN: Final[dict[bytes, Written]] = {
    header(schema): Written(schema["name"], header(schema), _parsed(schema))
    for schema in (*map(_load, sorted(FOLDER.glob("released/*.avsc"))), *SCHEMAS.values())
}


def written_by(text: str) -> Written:
    """How to read what was written with this schema. Raises Undecodable where it is none of our records."""
    try:
        schema = json.loads(text)
        written = Written(schema["name"].rpartition(".")[2], header(schema), _parsed(schema))
    except Exception as error:  # noqa: BLE001 - a registry holds what others put there; fastavro raises what that leads to
        raise Undecodable(f"a schema that can't be read ({type(error).__name__})") from None
    if written.name not in SCHEMAS:
        raise Undecodable(f"{written.name} is none of our records")
    return written


def encode(record: str, value: Mapping[str, Any], *, prefix: bytes | None = None) -> bytes:
    """A framed record from a dict. Raises ValueError, KeyError or TypeError where the dict does not fit the schema.

    `prefix` replaces the single-object header, as in `encoder`.
    """
    out = io.BytesIO()
    out.write(HEADERS[record] if prefix is None else prefix)
    fastavro.schemaless_writer(out, _PRESENT[record], dict(value), strict_allow_default=True)
    return out.getvalue()


def encoder(record: str, *, prefix: bytes | None = None, given: Sequence[str] = ()) -> Callable[..., bytes]:
    """A function that makes a framed record from an object with an attribute per field; much faster than `encode`.

    It trusts its input: types are the caller's promise. `prefix` replaces the single-object header (a registry's id).
    """
    return compile_encoder(SCHEMAS[record], HEADERS[record] if prefix is None else prefix, given)


def without_registry(id_: int) -> Written:
    """What an id means where no registry is known."""
    raise Undecodable(f"framed by a schema registry (id {id_}), and SCHEMA_REGISTRY_URL is not set")


def body_at(value: bytes, header_: bytes, resolve: Resolve = without_registry) -> int:
    """Where the body begins, of a value written with the schema of this single-object header; 0 for all else."""
    if value[:HEADER_BYTES] == header_:
        return HEADER_BYTES
    id_ = registry_id(value)
    return WIRE_HEADER_BYTES if id_ is not None and resolve(id_).header == header_ else 0


def decode(value: bytes | None, resolve: Resolve = without_registry) -> tuple[str, dict[str, Any]]:
    """The record's name and its fields by the present schema. Raises Undecodable and what `resolve` raises."""
    if value is None:
        raise Undecodable("no value")
    (name, _, written), begin = _frame(value, resolve)
    body = io.BytesIO(value)
    body.seek(begin)
    try:
        fields: Any = fastavro.schemaless_reader(body, written, _PRESENT[name])
    except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes led it to
        raise Undecodable(f"not a {name} body: {type(error).__name__}") from None
    if body.tell() != len(value):
        raise Undecodable(f"{len(value) - body.tell()} bytes behind the {name} body")
    return name, fields


def _frame(value: bytes, resolve: Resolve) -> tuple[Written, int]:
    """What a value was written with, and where its body begins."""
    if value[:2] == SINGLE_OBJECT:
        try:
            return _WRITTEN[value[:HEADER_BYTES]], HEADER_BYTES
        except KeyError:
            raise Undecodable(f"unknown schema fingerprint {value[2:HEADER_BYTES].hex()}") from None
    id_ = registry_id(value)
    if id_ is not None:
        return resolve(id_), WIRE_HEADER_BYTES
    raise Undecodable("neither single-object encoding nor a schema registry's framing")
