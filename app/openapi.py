"""The webhook in OpenAPI 3.1, made from the same tables as its answers; what is sent as /openapi.json.

Pure. The body is any JSON object with one of the provider's fields: everything in it is optional, and what is
not known is kept, so the document does not pretend to be stricter than the receiver.
"""

from typing import Any, Final

from app.delivery import KNOWN
from app.problems import ADVICE, TITLES
from schemas.settings import Settings
from schemas.topics import EVENT_KINDS

MEANINGS: Final = {
    200: "Kafka has acknowledged every event of the delivery.",
    202: "Kafka is unavailable or too slow; the delivery is on disk and will be published.",
    400: "Not JSON, not a JSON object, nested too deeply, or a Content-Encoding other than gzip.",
    401: "Credentials missing or wrong, or an address outside the allowed list.",
    404: "Another path.",
    405: "Another method.",
    413: "The body is too large, possibly only after decompression, or has too many rows.",
    422: "A JSON object that holds none of the known fields.",
    503: "Overload, shutting down, or neither Kafka nor the spool can take the delivery.",
    507: "The spool is needed, and the disk or the spool's share of it is full.",
}
#: A path or a method that the document does not offer can't be an answer of one that it does.
ELSEWHERE: Final = (404, 405)


def openapi(settings: Settings) -> dict[str, Any]:
    """The document for these settings."""
    path = settings.webhook_path
    paths: dict[str, Any] = {path: {"post": _operation("postDelivery")}}
    if settings.token:
        token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}
        beside: dict[str, Any] = {"security": [{name: [] for name in _security(settings) if name != "bearer"}]}
        paths[path + "/{token}"] = {"post": _operation("postDeliveryWithToken") | beside, "parameters": [token]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "phonon-events receiver", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {"Delivery": _delivery(), "Stored": _stored(), "Problem": _problem()},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [_security(settings)],
    }


def _security(settings: Settings) -> dict[str, list[str]]:
    """What is asked for in a header that OpenAPI can describe."""
    asked = {"basic": settings.basic_auth, "bearer": settings.token}
    return {name: [] for name, value in asked.items() if value}


def _operation(name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "Accept a delivery",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Delivery"}}},
        },
        "responses": {
            str(status): _response(status, meaning) for status, meaning in MEANINGS.items() if status not in ELSEWHERE
        },
    }


def _response(status: int, meaning: str) -> dict[str, Any]:
    kind, schema = ("application/problem+json", "Problem") if status in ADVICE else ("application/json", "Stored")
    response: dict[str, Any] = {
        "description": meaning,
        "content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }
    if ADVICE.get(status) == "retry":
        response["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    return response


def _delivery() -> dict[str, Any]:
    there = {"not": {"type": "null"}}
    known = {
        "type": "object",
        "anyOf": [{"required": [name], "properties": {name: there}} for name in sorted(KNOWN)],
    }
    return {"anyOf": [known, {"type": "object", "required": ["body"], "properties": {"body": known}}]}


def _stored() -> dict[str, Any]:
    counts = {kind: {"type": "integer", "minimum": 0} for kind in EVENT_KINDS}
    return {
        "type": "object",
        "required": ["flow_id", "stored"],
        "properties": {
            "flow_id": {"type": "string"},
            "events": {"type": "object", "required": list(EVENT_KINDS), "properties": counts},
            "rejected": {"type": "integer", "minimum": 0},
            "stored": {"enum": ["kafka", "spool"]},
        },
    }


def _problem() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"enum": [TITLES[status] for status in ADVICE]},
            "status": {"enum": list(ADVICE)},
            "detail": {"type": "string"},
        },
    }
