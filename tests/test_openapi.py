"""The document is valid, and what it promises is what comes: schemathesis asks, the receiver (on fakes) answers."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from starlette.routing import Router

from app.main import Receiver
from app.openapi import openapi
from schemas.settings import read_settings
from tests.fakes import FakePublisher, FakeSpool


@pytest.mark.parametrize("settings", [{}, {"PHONON_TOKEN": "t"}, {"PHONON_BASIC_AUTH": "u:p", "PHONON_TOKEN": "t"}])
def test_the_document_is_openapi(settings: dict[str, str]) -> None:
    validate(openapi(read_settings(settings)))


SENT: dict[str, str] = {"basic": "Basic dTpw", "bearer": "Bearer t"}


@pytest.mark.parametrize("settings", [{}, {"PHONON_TOKEN": "t"}, {"PHONON_BASIC_AUTH": "u:p"},
                                      {"PHONON_BASIC_AUTH": "u:p", "PHONON_TOKEN": "t"}])  # fmt: skip
async def test_who_sends_what_the_document_asks_for_is_let_in(settings: dict[str, str], tmp_path: Path) -> None:
    """It asked for the token in the header too where it is in the path."""
    receiver = Receiver(read_settings(settings | {"PHONON_SPOOL_DIR": str(tmp_path)}))
    receiver.webhook.publisher, receiver.webhook.spool = FakePublisher(), FakeSpool()
    transport = httpx.ASGITransport(Router(receiver.router.routes), client=("127.0.0.1", 1))
    document = openapi(receiver.settings)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        for path, item in document["paths"].items():
            [asked] = item["post"].get("security", document["security"])
            if len(asked) > 1:
                continue  # two in one header: then the token must be in the path
            url, sent = path.replace("{token}", "t"), [("authorization", SENT[name]) for name in asked]
            assert (await client.post(url, headers=sent, json={"keys": []})).status_code == 200
            assert not sent or (await client.post(url, json={"keys": []})).status_code == 401


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_receiver_keeps_to_the_document(tmp_path: Path, mode: GenerationMode) -> None:
    receiver = Receiver(read_settings({"PHONON_SPOOL_DIR": str(tmp_path), "PHONON_ALLOW_ANONYMOUS": "true"}))
    receiver.webhook.publisher, receiver.webhook.spool = FakePublisher(), FakeSpool()
    schema = schemathesis.openapi.from_asgi("/openapi.json", Router(receiver.router.routes))  # without its lifespan
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)

        @given(case=operation.ok().as_strategy(generation_mode=mode))
        @hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
        def answers_as_promised(case: Any) -> None:
            case.call_and_validate()

        answers_as_promised()
