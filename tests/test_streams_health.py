"""A worker's management port: alive whatever happens, ready or why not, figures as of now."""

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from streams import measures
from streams.health import application


async def test_it_says_why_it_is_not_ready_and_brings_its_figures_up_to_date() -> None:
    trouble: str | None = "reading its state"
    measured = 0

    def measure() -> None:
        nonlocal measured
        measured += 1
        measures.WAITING.set(measured)

    async with TestClient(TestServer(application(lambda: trouble, measure))) as client:

        async def figures() -> dict[str, float]:
            page = await (await client.get("/metrics")).text()
            return {family.name: family.samples[0].value for family in text_string_to_metric_families(page)
                    if family.name in ("phonon_ready", "phonon_dids_waiting")}  # fmt: skip

        for ready in (False, True):
            trouble = None if ready else "reading its state"
            answer = await client.get("/readyz")
            body = {"status": "ready"} if ready else {"status": "not ready", "reason": "reading its state"}
            assert (answer.status, await answer.json()) == (200 if ready else 503, body)
            assert (await client.get("/healthz")).status == 200
            assert await figures() == {"phonon_ready": ready, "phonon_dids_waiting": 1 + ready}
