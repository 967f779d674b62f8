"""send posts every body byte for byte, again only where it was asked to come back, and tells what became of all."""

import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.cli import run
from app.credentials import read_credentials, verify_sender, verify_signature
from app.demo.ports import free_port
from app.send import LONGEST_PAUSE_S, MOST_TRIES, Outcome, Sender, Unreachable, _pause, default_url
from app.sources import documents
from schemas.settings import Settings, read_settings
from schemas.userinfo import basic

SECRET = "whsec_bmV2ZXIgdHJ1c3QgYSBzdHJhbmdlcg=="


def configured(**given: str) -> Settings:
    return read_settings({f"PHONON_{name.upper()}": value for name, value in given.items()})


class Receiver:
    """Answers with the statuses it was given, in turn, then 200; keeps what it got."""

    def __init__(self, *statuses: int, retry_after: str = "0") -> None:
        self.statuses, self.retry_after = list(statuses), retry_after
        self.got: list[tuple[bytes, dict[str, str], str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((await request.read(), headers, request.path))
        status = self.statuses.pop(0) if self.statuses else 200
        body = {"events": {"flow": 2}} if status == 200 else {"title": "No", "detail": "because"}
        return web.json_response(body, status=status, headers={"retry-after": self.retry_after})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            await runner.cleanup()


async def test_bodies_arrive_byte_for_byte_and_are_counted() -> None:
    bodies = [b'{"a": 1}', b"\xff not json", b"{ }"]
    async with Receiver().listening() as receiver:
        outcome = await Sender(configured(), receiver.url).send(bodies)
    assert sorted(body for body, _, _ in receiver.got) == sorted(bodies)
    assert (dict(outcome.statuses), outcome.events["flow"], outcome.retries) == ({200: 3}, 6, 0)
    assert outcome.complaint == ""


@pytest.mark.parametrize("events", [5, "ok", {"a": "b"}, [{}], None])
def test_an_answer_of_another_server_is_counted_as_well(events: object) -> None:
    outcome = Outcome()
    outcome.add(200, 0.1, {"events": events})
    assert (outcome.total, outcome.events.total()) == (1, 0)


@pytest.mark.parametrize("status", [503, 507])
async def test_later_is_asked_again_and_is_the_same_delivery(status: int) -> None:
    async with Receiver(status, status).listening() as receiver:
        outcome = await Sender(configured(signing_secret=SECRET), receiver.url).send([b"{}"])
    assert dict(outcome.statuses) == {200: 1}
    assert outcome.retries == 2
    assert len({(body, headers["webhook-id"]) for body, headers, _ in receiver.got}) == 1


async def test_it_waits_as_long_as_it_was_told() -> None:
    async with Receiver(503, retry_after="1").listening() as receiver:
        begun = time.monotonic()
        await Sender(configured(), receiver.url).send([b"{}"])
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("0", 0), ("7", 7), ("99999", LONGEST_PAUSE_S), ("", 1), ("Sun, 1 Nov 2026 10:00:00 GMT", 1), ("-3", 1), ("²", 1)],
)
def test_a_pause_is_as_long_as_told_and_has_an_end(told: str, seconds: float) -> None:
    assert _pause(told) == seconds


async def test_what_became_of_a_delivery_can_not_be_written_down_and_that_ends_it() -> None:
    """A state file on a full disk: going on, it would be posted again, and nobody would know."""

    def done(_number: int, _status: int, _detail: str) -> None:
        raise OSError(28, "No space left on device")

    async with Receiver().listening() as receiver:
        with pytest.raises(OSError, match="No space left"):
            await Sender(configured(), receiver.url).send([b"{}"] * 3, done=done)


async def test_it_does_not_ask_for_ever() -> None:
    async with Receiver(*[503] * 100).listening() as receiver:
        outcome = await Sender(configured(), receiver.url).send([b"{}"])
    assert len(receiver.got) == MOST_TRIES
    assert dict(outcome.statuses) == {503: 1}
    assert outcome.complaint == "1 of 1 deliveries not accepted; 503: because"


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 302])
async def test_every_other_answer_is_final(status: int) -> None:
    async with Receiver(status).listening() as receiver:
        outcome = await Sender(configured(), receiver.url).send([b"{}"])
    assert len(receiver.got) == 1
    assert outcome.complaint


@pytest.mark.parametrize(
    "given",
    [
        {"basic_auth": "user:pass:word"},
        {"token": "t0ken"},
        {"signing_secret": f"{SECRET} whsec_b2xk"},
        {"basic_auth": "u:p", "token": "t", "signing_secret": SECRET},
    ],
    ids=lambda given: "+".join(given),
)
async def test_its_credentials_pass_at_a_receiver_with_the_same_settings(given: dict[str, str]) -> None:
    async with Receiver().listening() as receiver:
        await Sender(configured(**given), receiver.url).send([b"{}"])
    body, headers, path = receiver.got[0]
    credentials = read_credentials(configured(**given))
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    token = path.removeprefix("/hook").strip("/") or None
    verify_sender(credentials, raw, peer="127.0.0.1", path_token=token)
    verify_signature(credentials, dict(raw), body, now=time.time())


@pytest.mark.parametrize("given", [{}, {"basic_auth": "other:one"}, {"token": "t0ken"}])
async def test_a_user_in_the_address_goes_before_the_setting_and_is_not_shown(given: dict[str, str]) -> None:
    """Beside a header of ours, or in letters that are no Latin-1, aiohttp refused it with an error that ended send."""
    async with Receiver().listening() as receiver:
        url = receiver.url.replace("http://", "http://us%3Fr:пароль@")
        outcome = await Sender(configured(**given), url).send([b"{}"])
    assert dict(outcome.statuses) == {200: 1}
    assert receiver.got[0][1]["authorization"] == basic("us?r:пароль")
    with pytest.raises(Unreachable, match="cannot reach http://127") as failure:
        await Sender(configured(**given), url).send([b"{}"])
    assert "пароль" not in str(failure.value)


async def test_nobody_there_is_said_in_one_line() -> None:
    url = f"http://127.0.0.1:{free_port()}/hook"
    with pytest.raises(Unreachable, match=rf"cannot reach {url}: .*[Cc]onnect") as failure:
        await Sender(configured(token="s3cret"), url).send([b"{}"] * 50)
    assert "\n" not in str(failure.value)
    assert "s3cret" not in str(failure.value)


async def test_a_broken_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver().listening() as receiver:
        sender = Sender(configured(), receiver.url)
        await sender.send([b"{}"])
        post, failures = sender._post, iter([aiohttp.ServerDisconnectedError()])

        async def flaky(*args: Any) -> Any:
            for failure in failures:
                raise failure
            return await post(*args)

        monkeypatch.setattr(sender, "_post", flaky)
        outcome = await sender.send([b"{}"])
    assert (dict(outcome.statuses), outcome.retries) == ({200: 2}, 1)


async def test_the_rate_is_kept() -> None:
    async with Receiver().listening() as receiver:
        begun = time.monotonic()
        await Sender(configured(), receiver.url).send([b"{}"] * 11, rate=20)
    assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}\n']),
        ("a.json", b"no json", [b"no json"]),
        ("a.jsonl", b'{"a": 1}\n\n{"a": 2}', [b'{"a": 1}', b'{"a": 2}']),
        ("a.jsonl", b"no json\n{}\n", [b"no json", b"{}"]),
        ("a.jsonl", b"", []),
        ("-", b'{"a": 1}\n{"a": 2}\n', [b'{"a": 1}', b'{"a": 2}']),
        ("-", b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}\n']),
        ("-", b"no json", [b"no json"]),
        ("-", b"", []),
    ],
)
def test_a_file_is_one_document_or_one_a_line(name: str, content: bytes, expected: list[bytes]) -> None:
    assert [body for _, body in documents(name, io.BytesIO(content))] == expected


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/webhooks/phonon"),
        ("0.0.0.0", "http://127.0.0.1:8080/webhooks/phonon"),
        ("::", "http://[::1]:8080/webhooks/phonon"),
        ("example.com", "http://example.com:8080/webhooks/phonon"),
    ],
)
def test_the_default_address_is_that_of_the_receiver_with_these_settings(host: str, url: str) -> None:
    assert default_url(configured(host=host)) == url


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """A receiver in a thread of its own, for the command itself."""
    import asyncio
    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stop: list[Any] = []

    def start(status: int) -> str:
        listening = Receiver(*[status] * 100).listening()
        receiver = asyncio.run_coroutine_threadsafe(listening.__aenter__(), loop).result(5)
        stop.append(listening)
        return receiver.url

    yield start
    for listening in stop:
        asyncio.run_coroutine_threadsafe(listening.__aexit__(None, None, None), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (202, 0), (422, 1)])
def test_the_command_ends_with_a_table_and_the_right_code(
    answering: Callable[[int], str], status: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    url = answering(status)
    assert run(["send", "--synthetic", "5", "--url", url]) == code
    out, err = capsys.readouterr()
    assert str(status) in out
    assert "posting" not in err
    assert err == ("" if code == 0 else "phonon-events: 5 of 5 deliveries not accepted; 422: because\n")


def test_the_command_says_in_one_line_that_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["send", "--synthetic", "5", "--url", f"http://127.0.0.1:{free_port()}/"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("phonon-events: cannot reach http://127.0.0.1:")
    assert err.count("\n") == 1
