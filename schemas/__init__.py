"""The records that other teams rely on, and the codec: the only code that the receiver and the workers share.

The .avsc files beside this one are loaded once. A value on a topic is framed so that a consumer finds its schema: Avro
single-object encoding (C3 01, then the 8-byte CRC-64-AVRO fingerprint of the schema, little-endian, then the body).
Every version that was ever released stays readable: it is kept in `released/`, and read as the present one.

Times are ints in both directions: ms since 1970 UTC (Avro timestamp-millis), never datetime objects.
Source: Avro specification 1.12, "Single-object encoding" and "Schema fingerprints".
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.encoding import compile_encoder

__all__ = ["SCHEMAS", "SINGLE_OBJECT", "Undecodable", "decode", "encode", "encoder"]

SINGLE_OBJECT: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
FOLDER: Final = Path(__file__).parent

Schema = dict[str, Any]


class Undecodable(ValueError):  # noqa: N818 - it names what the value is
    """A value that is no record of ours: no known framing, no known schema, or a body that does not fit it."""


def _load(path: Path) -> Schema:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _parsed(schema: Schema) -> Any:
    """The schema as fastavro wants it, with times as plain longs."""
    plain = json.loads(json.dumps(schema), object_hook=lambda d: {k: v for k, v in d.items() if k != "logicalType"})
    return fastavro.parse_schema(plain, named_schemas={})


def header(schema: Schema) -> bytes:
    """The single-object header of a schema: marker and fingerprint, 10 bytes."""
    return SINGLE_OBJECT + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


#: Record name -> its .avsc as a dict, as registries want it.
SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType({p.stem: _load(p) for p in sorted(FOLDER.glob("*.avsc"))})
#: Record name -> 10-byte header of its present version.
HEADERS: Final[Mapping[str, bytes]] = MappingProxyType({name: header(schema) for name, schema in SCHEMAS.items()})

_PRESENT: Final = {name: _parsed(schema) for name, schema in SCHEMAS.items()}
_WRITTEN: Final[dict[bytes, tuple[str, Any]]] = {
    header(schema): (schema["name"], _parsed(schema))
    for schema in (*map(_load, sorted(FOLDER.glob("released/*.avsc"))), *SCHEMAS.values())
}


def encode(record: str, value: Mapping[str, Any]) -> bytes:
    """A framed record from a dict. Raises ValueError, KeyError or TypeError where the dict does not fit the schema."""
    out = io.BytesIO()
    out.write(HEADERS[record])
    fastavro.schemaless_writer(out, _PRESENT[record], dict(value), strict_allow_default=True)
    return out.getvalue()


def encoder(record: str, *, prefix: bytes | None = None) -> Callable[[Any], bytes]:
    """A function that makes a framed record from an object with an attribute per field; much faster than `encode`.

    It trusts its input: types are the caller's promise. `prefix` replaces the single-object header (a registry's id).
    """
    return compile_encoder(SCHEMAS[record], HEADERS[record] if prefix is None else prefix)


def decode(value: bytes | None) -> tuple[str, dict[str, Any]]:
    """The record's name and its fields by the present schema. Raises Undecodable, and nothing else."""
    if value is None:
        raise Undecodable("no value")
    if value[:2] != SINGLE_OBJECT:
        raise Undecodable("neither single-object encoding nor a known framing")
    try:
        name, written = _WRITTEN[value[:HEADER_BYTES]]
    except KeyError:
        raise Undecodable(f"unknown schema fingerprint {value[2:HEADER_BYTES].hex()}") from None
    body = io.BytesIO(value)
    body.seek(HEADER_BYTES)
    try:
        fields: Any = fastavro.schemaless_reader(body, written, _PRESENT[name])
    except Exception as error:  # noqa: BLE001 - fastavro raises whatever the bytes led it to
        raise Undecodable(f"not a {name} body: {type(error).__name__}") from None
    if body.tell() != len(value):
        raise Undecodable(f"{len(value) - body.tell()} bytes behind the {name} body")
    return name, fields
