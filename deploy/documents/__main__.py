"""`python -m deploy.documents`: write every document where it is committed."""

import json
from pathlib import Path
from typing import Any, Final

from app.openapi import openapi
from deploy.documents.asyncapi import asyncapi
from deploy.documents.grafana import dashboard
from schemas import FOLDER, header
from schemas.settings import read_settings

ROOT: Final = Path(__file__).parent.parent.parent


def documents() -> dict[str, Any]:
    """Path -> content. The receiver is shown as it should run: with a token."""
    return {
        "docs/openapi.json": openapi(read_settings({"PHONON_TOKEN": "shown-nowhere"})),
        "docs/asyncapi.json": asyncapi(read_settings({})),
        "deploy/grafana/dashboard.json": dashboard(),
        "schemas/released/fingerprints.json": fingerprints(),
    }


def fingerprints() -> dict[str, str]:
    """Fingerprint as it stands in values -> file in schemas/released, for consumers whose library computes another.

    Go's hamba/avro and goavro do: their canonical form keeps what logicalType leaves behind.
    """
    files = sorted(FOLDER.glob("released/*.avsc"))
    return {header(json.loads(file.read_text(encoding="utf-8")))[2:].hex(): file.name for file in files}


def text(content: Any) -> str:
    """The text of a document: the same for the same content."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, content in documents().items():
        (ROOT / name).write_text(text(content), encoding="utf-8")
