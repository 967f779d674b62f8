"""With content dropped and numbers pseudonymised nothing of either is left in any record, and ids stay as they were."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery import read_document
from app.events import CallLeg, Email, Recording, as_dict
from app.privacy import Privacy, _tokens, redact
from app.publish import HEADERS_BYTES
from app.records import Records
from app.split import Split, split
from schemas.topics import record_limit_bytes
from tests.json_values import ANYTHING
from tests.test_deliveries import FOLDER, RECEIVED_AT, RULES

KEY = b"a key of ours"
ALL = Privacy(drop_content=True, pseudonymise=True, key=KEY)
ALL_BUT_CONTENT = Privacy(pseudonymise=True, key=KEY)
SAMPLE = json.loads((FOLDER / "sample.json").read_bytes())


def split_with(document: Any, privacy: Privacy) -> Split:
    body = json.dumps(document).encode()
    return redact(split(read_document(body), received_at=RECEIVED_AT, rules=RULES), privacy)


def text_of(result: Split) -> str:
    return json.dumps([as_dict(event) for event in [*result.events, *result.rejected]], ensure_ascii=False)


def test_the_samples_numbers_and_contents_are_gone() -> None:
    text = text_of(split_with(SAMPLE, ALL))
    for gone in ("6262772728", "8238217798", "customer@phonon.io", "Welcome to", "Email Subject", "bkt_x_ack", "X-Amz"):
        assert gone not in text
    assert '"key": "6"' not in text
    assert '"menu_path": "key"' in text
    assert "+912243692987" in text  # a DID is ours


def test_keeping_all_changes_nothing() -> None:
    assert text_of(split_with(SAMPLE, Privacy())) == text_of(
        split(read_document(json.dumps(SAMPLE).encode()), received_at=RECEIVED_AT, rules=RULES)
    )


def test_one_number_has_one_token_per_key_however_it_is_written() -> None:
    def tokens(key: bytes, *numbers: str) -> set[Any]:
        legs = [{"cdrId": number, "calleeNumber": number} for number in numbers]
        result = split_with({"callDetails": legs}, Privacy(pseudonymise=True, key=key))
        return {as_dict(event).get("callee_number") for event in result.events} - {None}

    one = tokens(b"key one", "916262772728", "+916262772728", "06262772728")
    assert len(one) == 1
    assert one != tokens(b"key two", "916262772728")


DIGITS = st.text("0123456789", min_size=10, max_size=12).filter(lambda text: not text.startswith("0"))
SECRET = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=16)


@given(DIGITS, SECRET)
def test_content_and_numbers_are_gone_wherever_they_could_not_be_read(number: str, secret: str) -> None:
    document = {
        "phonon-uuid": "u",
        "callDetails": [{"calleeNumber": [number], "dtmfPressesd": secret}, number],
        "smsDetails": [{"id": "s", "to": {"n": number}, "text": {"t": secret}}, secret],
        "emailDetails": [{"id": "e", "subject": [secret], "content": 1.5, "addresses": number}],
        "keys": [{"name": "k", "value": {"deep": secret}}],
        "recordingUrls": [{"recordedFilePublicPath": {"u": secret}}],
    }
    before, after = split_with(document, Privacy()), split_with(document, ALL)
    assert number in text_of(before)
    assert secret in text_of(before)
    assert number not in text_of(after)
    assert secret not in text_of(after)
    assert [event.event_id for event in after.events] == [event.event_id for event in before.events]
    assert [part.event_id for part in after.rejected] == [part.event_id for part in before.rejected]


def caller_of(number: Any, privacy: Privacy) -> Any:
    legs = [{"cdrId": "1", "calleeType": "AGENT", "calleeNumber": "918238217798"},
            {"cdrId": "2", "calleeType": "VISITOR", "calleeNumber": number}]  # fmt: skip
    *_, flow = split_with({"callDetails": legs}, privacy).events
    return as_dict(flow)["caller"], as_dict(flow)["legs"][1]["callee_number"]


def test_sections_beside_the_body_are_content_too() -> None:
    beside = {"smsDetails": [{"text": "swordfish"}], "keys": [{"value": "swordfish"}], "flowStatus": "done"}
    flow = split_with({"body": {"phonon-uuid": "f", "keys": []}} | beside, ALL).events[-1]
    assert flow.extra == {"flowStatus": '"done"'}


@given(DIGITS, ANYTHING)
def test_what_stands_in_extra_or_was_rejected_is_json_still(number: str, value: Any) -> None:
    odd = [value, int(number), f'"\\{number}', {number: [int(number), -int(number) / 4]}]
    leg = {"calleeNumber": [number], "duration": int(number) * 10**12, "other": odd}
    result = split_with({"callDetails": [leg, odd], "smsDetails": [{"to": odd}], "elsewhere": odd}, ALL_BUT_CONTENT)
    assert number not in text_of(result)
    for text in [*(text for event in result.events for text in event.extra.values()), result.rejected[0].payload]:
        json.loads(text)


def test_addresses_in_what_nobody_knows_or_could_read_are_the_tokens_of_recipients() -> None:
    odd = "to Bob.O'Neil+x@mail.example.\nann@example.org, %40 jos\u00e9@ex\u00e4mple.de? u=ann%40example.org #"
    document = {
        "phonon-uuid": "f",
        "callDetails": [{"cdrId": "1", "cc": odd}],
        "emailDetails": [{"id": "e", "addresses": [{"id": "ann@example.org"}], "replyTo": [odd]}, odd],
        "notify": {"ann@example.org": odd},
    }
    result = split_with(document, ALL_BUT_CONTENT)
    ann = next(as_dict(event)["recipients"][0]["address"] for event in result.events if isinstance(event, Email))
    texts = [text for event in result.events for text in event.extra.values()] + [result.rejected[0].payload]
    assert len(texts) == 4
    for text in texts:
        json.loads(text)
        assert not [gone for gone in ("Neil", "ann", "example", "jos", ".de") if gone in text]
        assert text.count(ann) >= 2
        assert "%40 " in text


def test_a_digit_of_an_escape_is_no_digit_of_a_number() -> None:
    body = b'{"phonon-uuid": "f", "odd": "\\ud8006262772728 ann\\ud800@example.org"}'
    result = redact(split(read_document(body), received_at=RECEIVED_AT, rules=RULES), ALL_BUT_CONTENT)
    text = result.events[-1].extra["odd"]
    assert json.loads(text).startswith("\ud800tok_")
    assert not [gone for gone in ("6262772728", "ann", "example") if gone in text]
    path = split_with({"phonon-uuid": "f", "odd": "C:\\u6262772728"}, ALL_BUT_CONTENT).events[-1].extra["odd"]
    assert json.loads(path).startswith("C:\\utok_")


@pytest.mark.parametrize("part", ["a", "a@", "a@[", "a@a.", "%40", "\\", "1"])
def test_a_megabyte_of_anything_is_masked_in_its_time(part: str) -> None:
    begun, text = time.process_time(), part * (2**20 // len(part))
    masked = split_with({"phonon-uuid": "f", "odd": text}, ALL_BUT_CONTENT).events[-1].extra["odd"]
    kept = json.loads(masked) == text
    assert kept is (part not in ("a@", "a@a.", "1"))
    assert time.process_time() - begun < 10  # under a second; going back over what was passed takes minutes


CALLEES = st.lists(st.text("0123456789", min_size=3, max_size=5), min_size=1, max_size=4)
PARTS = st.lists(st.one_of(st.sampled_from(["+", "%2B", "a", "9", "++"]), st.text("0123456789", max_size=6)))


@given(CALLEES, PARTS, st.data())
def test_a_recordings_name_has_tokens_for_all_callees(callees: list[str], parts: list[str], data: Any) -> None:
    name = "n" + "".join(data.draw(st.permutations([*parts, *callees])))
    document = {"callDetails": [{"calleeNumber": n} for n in callees], "recordingUrls": [{"recordedFileName": name}]}
    legs = [event for event in split_with(document, Privacy()).events if isinstance(event, CallLeg)]
    tokens = {
        str(plain.callee_number).lstrip("+"): _tokens(b"a key of ours")("+" + str(plain.callee_number).lstrip("+"))
        for plain in legs
    }
    longest_first = "|".join(sorted(tokens, key=len, reverse=True))
    expected = re.sub(rf"(?:\+|%2B)?({longest_first})", lambda found: tokens[found[1]], name)
    assert recording_of(document).file_name == expected


@pytest.mark.parametrize(
    ("callees", "name", "expected"),
    [
        (["123", "12345"], "n12345", "n{12345}"),
        (["12345", "123"], "n12345123", "n{12345}{123}"),
        (["123", "12345"], "n12345n12345", "n{12345}n{12345}"),
        (["1234", "345"], "n12345", "n{1234}5"),
        (["1234", "345"], "n123453451234", "n{1234}5{345}{1234}"),
        (["234", "1234"], "1234234", "{1234}{234}"),
        (["1234", "2345", "345"], "12345345", "{1234}5{345}"),
        (["1234"], "+1234%2B1234++1234", "{1234}{1234}+{1234}"),
    ],
)
def test_of_two_callees_in_a_name_the_first_is_found_and_then_the_longer(
    callees: list[str], name: str, expected: str
) -> None:
    document = {"callDetails": [{"calleeNumber": n} for n in callees], "recordingUrls": [{"recordedFileName": name}]}
    token = _tokens(KEY)
    assert recording_of(document).file_name == re.sub(r"{(\d+)}", lambda found: token("+" + found[1]), expected)


def recording_of(document: Any) -> Recording:
    events = split_with(document, ALL_BUT_CONTENT).events
    return next(event for event in events if isinstance(event, Recording))


def test_who_has_no_number_or_address_gets_no_token() -> None:
    document = {
        "callDetails": [{"cdrId": "1"}, {"cdrId": "2", "calleeNumber": ""}],
        "smsDetails": [{"id": "s"}],
        "emailDetails": [{"id": "e", "addresses": [{"type": "to"}, {"id": ""}]}],
        "recordingUrls": [{"recordedFileName": "a"}, {"recordedFilePublicPath": "b"}, {}],
    }
    assert text_of(split_with(document, ALL_BUT_CONTENT)) == text_of(split_with(document, Privacy()))


def test_a_callee_without_digits_is_in_no_name() -> None:
    document = {"callDetails": [{"calleeNumber": "+"}], "recordingUrls": [{"recordedFileName": "a+b"}]}
    assert recording_of(document).file_name == "a+b"


def test_ten_thousand_callees_are_looked_for_in_their_time() -> None:
    legs = [{"calleeNumber": f"9{n:09}"} for n in range(10_000)]
    recordings = [{"recordedFileName": "9876501234x" * 40_000, "recordedFilePublicPath": "https://h/919000000007x"}]
    begun = time.process_time()
    recording = recording_of({"callDetails": legs, "recordingUrls": recordings})
    assert time.process_time() - begun < 10  # under a second; one choice of 10,000 numbers takes minutes
    assert (str(recording.file_name)[:4], len(str(recording.file_name))) == ("tok_", 36)
    assert str(recording.url).startswith("https://h/tok_")


def test_ten_thousand_callees_are_looked_for_in_as_many_names_in_their_time() -> None:
    numbers = [f"9{n:09}" for n in range(10_000)]
    document = {
        "callDetails": [{"calleeNumber": number} for number in numbers],
        "recordingUrls": [{"recordedFileName": f"a91{number}"} for number in numbers],
    }
    begun = time.process_time()
    names = [str(e.file_name) for e in split_with(document, ALL_BUT_CONTENT).events if isinstance(e, Recording)]
    assert time.process_time() - begun < 3  # under a second; each number in each name takes six
    assert (names[0][:5], names[-1][:4]) == ("atok_", "tok_")


LIMIT = 2**20


def filled(body: str, part: str, also: str = "") -> str:
    """A body of the largest size: `part` as often in the place of .. as there is room, `also` half as often in ::."""
    room = LIMIT - len(body)
    often = room // (len(part) + len(also) / 2) if also else room // len(part)
    return body.replace("..", part * int(often)).replace("::", also * int(often / 2))


@pytest.mark.parametrize(
    "body",
    [
        filled('{"phonon-uuid":"f","odd":".."}', "1234567 "),
        filled('{"phonon-uuid":"f","odd":".."}', "a@b "),
        filled('{"phonon-uuid":"f","odd":".."}', "!@b"),
        filled('{"phonon-uuid":"f","odd":[..1]}', "1e15,"),
        filled('{"callDetails":".."}', "!@b"),
        filled('{"callDetails":[{"odd":[..1]}]}', "1e15,"),
        filled('{"callDetails":[{"odd":".."},"::"]}', "!@b", "!@b"),
        filled('{"emailDetails":[{"addresses":[..{}]}]}', '{"id":"a"},'),
        filled('{"callDetails":[{"calleeNumber":"1"}],"recordingUrls":[{"recordedFileName":".."}]}', "1"),
        filled(
            '{"callDetails":[{"calleeNumber":"1"}],"recordingUrls":[{"recordedFilePublicPath":"..","x":"::"}]}',
            "1",
            "!@b",
        ),
        '{"phonon-uuid":"f"' + "".join(f',"{n:05x}":"!@b"' for n in range(LIMIT // 14 - 2)) + "}",
    ],
    ids=range(11),
)
def test_tokens_never_outgrow_a_record(body: str) -> None:
    """Kafka takes every record of a body at the limit; what was masked as a whole is still JSON."""
    assert LIMIT - 32 < len(body) <= LIMIT
    result = redact(split(read_document(body.encode()), received_at=RECEIVED_AT, rules=RULES), ALL_BUT_CONTENT)
    for record in Records("phonon")(result):
        assert len(record.value) <= record_limit_bytes(LIMIT) - HEADERS_BYTES
    for text in [text for event in result.events for text in event.extra.values()]:
        assert "@" not in str(json.loads(text))
    assert "@b" not in text_of(result)


def test_what_stood_beside_the_body_is_treated_as_what_stood_in_it() -> None:
    document = {"body": {"keys": [], "text": {"n": "swordfish"}, "to": "9"}, "text": ["swordfish"], "to": "8"}
    assert text_of(split_with(document, ALL_BUT_CONTENT)).count("swordfish") == 2
    assert "swordfish" not in text_of(split_with(document, Privacy(drop_content=True)))
    extra = split_with(document, ALL_BUT_CONTENT).events[-1].extra
    assert extra["to"].startswith('"tok_')
    assert extra["../to"].startswith('"tok_')


def test_a_label_is_the_key_in_words() -> None:
    presses = [{"key": "1", "label": "swordfish"}, {"key": "2", "label": {"is": "swordfish"}}]
    document = {"callDetails": [{"cdrId": "1", "dtmfPressesd": presses}]}
    assert "swordfish" in text_of(split_with(document, ALL_BUT_CONTENT))
    assert "swordfish" not in text_of(split_with(document, Privacy(drop_content=True)))


def test_with_a_key_a_flow_tells_its_caller_as_a_token_and_numbers_stay_as_they_were() -> None:
    token, callee = caller_of("06262772728", Privacy(key=b"a key of ours"))
    assert callee == "+916262772728"
    assert token.startswith("tok_")
    assert "6262772728" not in token
    assert caller_of("+91 62627 72728", Privacy(key=b"a key of ours")) == (token, callee)
    assert caller_of("06262772728", Privacy(pseudonymise=True, key=b"a key of ours")) == (token, token)


def test_without_a_key_or_a_number_there_is_no_caller() -> None:
    assert caller_of("916262772728", Privacy()) == (None, "+916262772728")
    assert caller_of("anonymous", Privacy(key=b"a key of ours")) == (None, "anonymous")
    assert caller_of("+266696687", Privacy(key=b"a key of ours")) == (None, "+266696687")  # "anonymous" in digits
    assert caller_of("+", Privacy(key=b"a key of ours")) == (None, "+")
    assert caller_of(None, Privacy(key=b"a key of ours")) == (None, None)
