"""Takes content and numbers out where the settings say so: a pass over finished events, after their ids are made.

Pure. Ids come from what was sent, so turning a setting on never makes an old event look new. DIDs stay: they are ours.
Under `drop` SMS texts, e-mail subjects and contents, keys pressed and their labels, key values and the query of
recording URLs go; under `pseudonymise` callee numbers and recipients become tokens, also inside recording names; so do
all numbers and e-mail addresses in unknown and unreadable fields, where nobody can tell whose they are.
Where there is a key, a flow names its caller by the same token even if numbers are kept: callers can then be counted.
Source: contract, section 4, Privacy.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from typing import Any, Final

from app import menu
from app.delivery import BESIDE, SECTIONS
from app.events import CallLeg, Dtmf, Email, Flow, FlowKey, Recording, Sms
from app.split import Split
from app.telephony import is_valid
from schemas.topics import RECORD_OVERHEAD_BYTES

#: By sent name, the fields of a row whose unreadable value is content or holds numbers. Sections too: those that a
#: document has beside its `body`'s stand in `extra`.
_CONTENT: Final = frozenset(
    {"text", "subject", "content", "key", "label", "value", "recordedFilePublicPath", "dtmfPressesd", *SECTIONS}
)
_NUMBERS: Final = frozenset({"calleeNumber", "to", "addresses"})
_DIGITS: Final = re.compile(r"\+?[0-9]{7,}")
_ESCAPED: Final = r"\\u[0-9a-fA-F]{4}"
#: Inside JSON text: what may be the first part of an address, with the rest of it where it is one; or a short escape.
#: It never goes back over what it has passed (`++`), so that no text takes longer than others of its size.
_WORD: Final = re.compile(
    rf'((?:[^\s"\\@<>()\[\]{{}},;:&?/=|%]++|{_ESCAPED})++)'
    rf'((?:@|%40)(?:\[[^\s"\\\]\[@]*+\]|(?:[\w-]++|{_ESCAPED})++(?:\.(?:[\w-]++|{_ESCAPED})++)*+))?'
    r"|\\.",
    re.DOTALL,
)
#: A number or an escape. It begins with one character of a set, which is found in a fifth of the time of a choice: no
#: other thread runs meanwhile. "+" with less than seven digits matches too, and is no number.
_DIGITS_OF_WORD: Final = re.compile(r"[+0-9\\](?:(?<=\\)(?:u[0-9a-fA-F]{4}|.)|(?<!\\)[0-9]{6,})")
#: The parts of JSON text that may hold a telephone number: texts and numbers.
_JSON_VALUE: Final = re.compile(r'["0-9-](?:(?<=")[^"\\]*+(?:\\.[^"\\]*+)*+"|(?<!")[0-9.eE+-]*+)', re.DOTALL)

#: How many characters longer tokens may make a text, or all of `extra`: topics take four MiB above copies of the body.
MOST_GROWTH: Final = RECORD_OVERHEAD_BYTES // 4
#: How much of a delivery is searched for callees: characters times callees, where beginning a text counts as FIRST
#: characters. No call comes near; a text beyond it is one token as a whole.
MOST_SEARCHED: Final = 2**24
FIRST: Final = 64

TOKEN_LENGTH: Final = len('"tok_"') + 32

Token = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Privacy:
    """What to take out. `key`: flows name their callers by tokens; `pseudonymise` too: all numbers become tokens."""

    drop_content: bool = False
    pseudonymise: bool = False
    key: bytes | None = None


def redact(split: Split, privacy: Privacy) -> Split:
    """The same split, in place, without what the settings take out."""
    if privacy.drop_content:
        _drop(split)
    if privacy.key is not None:
        token = _tokens(privacy.key)
        _tell_callers(split, token)
        if privacy.pseudonymise:
            _pseudonymise(split, token)
    return split


def _drop(split: Split) -> None:
    for event in split.events:
        for name, nothing in _DROPPED.get(type(event), {}).items():
            setattr(event, name, nothing)
        if isinstance(event, Recording) and event.url:
            event.url = event.url.partition("?")[0]
        if isinstance(event, Flow) and event.menu_path:
            event.menu_path = menu.hidden(event.menu_path)
        event.extra = {name: text for name, text in event.extra.items() if name.rpartition(BESIDE)[2] not in _CONTENT}
    for part in split.rejected:
        part.payload = ""


_DROPPED: Final[dict[type, dict[str, Any]]] = {
    Sms: {"text": None},
    Email: {"subject": None, "content": None},
    Dtmf: {"key": "", "label": None},  # a label is the key in words
    FlowKey: {"value": None},
}


@lru_cache(maxsize=1)
def _tokens(key: bytes) -> Token:
    """What makes a number or address a token."""
    begun = hashlib.blake2b(digest_size=16, key=hashlib.blake2b(key).digest())

    def token(value: str) -> str:
        hashed = begun.copy()  # a third cheaper than to begin anew
        hashed.update(value.encode())
        return "tok_" + hashed.hexdigest()

    return token


def _tell_callers(split: Split, token: Token) -> None:
    """Each flow's caller: the first visitor with a valid number; all who withhold theirs are nobody."""
    for event in split.events:
        if isinstance(event, Flow):
            numbers = [leg.callee_number for leg in event.legs if leg.role == "VISITOR" and leg.callee_number]
            event.caller = next((token(number) for number in numbers if is_valid(number)), None)


def _pseudonymise(split: Split, token: Token) -> None:
    callees = {leg.callee_number for leg in split.events if isinstance(leg, CallLeg) and leg.callee_number}
    dids = {event.did.lstrip("+") for event in split.events}
    mask = _masked(token, {callee.lstrip("+") for callee in callees} - dids - {""})
    for event in split.events:
        if isinstance(event, CallLeg):
            event.callee_number = event.callee_number and token(event.callee_number)
        elif isinstance(event, Sms):
            event.recipient = event.recipient and token(event.recipient)
        elif isinstance(event, Email):
            for to in event.recipients:
                to.address = to.address and token(to.address)
        elif isinstance(event, Recording):
            event.file_name = event.file_name and mask(event.file_name)
            event.url = event.url and mask(event.url)
        if event.extra:
            event.extra = _extra_masked(event.extra, token)
    for part in split.rejected:
        masked = _json_masked(part.payload, token)
        part.payload = masked if len(masked) <= len(part.payload) + MOST_GROWTH else f'"{token(part.payload)}"'


def _masked(token: Token, callees: set[str]) -> Callable[[str], str]:
    """A function that replaces the callees' digits inside a text, from its start; of two at one place the longer."""
    searched = 0

    def mask(text: str) -> str:
        nonlocal searched
        more = len(callees) * (FIRST + len(text))
        if searched + more > MOST_SEARCHED:
            return token(text)
        searched += more
        tokens = {callee: token("+" + callee) for callee in callees if callee in text}
        ahead = [(text.find(callee), -len(callee), callee) for callee in tokens]
        heapify(ahead)
        masked, end = [], 0
        while ahead:
            place, _, callee = ahead[0]
            if place >= end:
                before = text[end:place]
                masked += [before[:-1] if before.endswith("+") else before.removesuffix("%2B"), tokens[callee]]
                end = place + len(callee)
            place = text.find(callee, end)
            if place >= 0:
                heapreplace(ahead, (place, -len(callee), callee))
            else:
                heappop(ahead)
        whole = "".join([*masked, text[end:]])
        return whole if len(whole) <= len(text) + MOST_GROWTH else token(text)

    return mask


def _extra_masked(extra: dict[str, str], token: Token) -> dict[str, str]:
    """Extra fields, masked; where that makes them too long, a text of more than one token becomes one as a whole."""
    masked = {name: _without_numbers(name, text, token) for name, text in extra.items()}
    if sum(map(len, masked.values())) <= sum(map(len, extra.values())) + MOST_GROWTH:
        return masked
    return {
        name: text if text == extra[name] or len(text) <= TOKEN_LENGTH else f'"{token(extra[name])}"'
        for name, text in masked.items()
    }


def _without_numbers(name: str, text: str, token: Token) -> str:
    return f'"{token(text)}"' if name.rpartition(BESIDE)[2] in _NUMBERS else _json_masked(text, token)


def _json_masked(text: str, token: Token) -> str:
    """JSON text with tokens in place of numbers and addresses; it stays JSON: a number becomes a text."""

    def digits_masked(found: re.Match[str]) -> str:
        is_number = found[0][0] != "\\" and (found[0][0] != "+" or len(found[0]) > 7)
        return token(found[0]) if is_number else found[0]

    def word_masked(word: re.Match[str]) -> str:
        if word[2]:
            return token(word[0].replace("%40", "@"))
        return _DIGITS_OF_WORD.sub(digits_masked, word[0])

    def masked(value: re.Match[str]) -> str:
        if value[0][0] == '"' and ("@" in value[0] or "%40" in value[0]):
            return _WORD.sub(word_masked, value[0])
        if value[0][0] == '"':  # most have no address, and it takes a fifth of the time to see that
            return _DIGITS_OF_WORD.sub(digits_masked, value[0])
        digits = _DIGITS.search(value[0])
        return f'"{token(digits[0])}"' if digits else value[0]

    return _JSON_VALUE.sub(masked, text)
