"""split: one delivery -> its events, each with an id that only what happened decides.

Pure: no clock (received_at is an argument), no chance, no I/O. Legs are read first: they say which DID and which time
the rest belongs to. Source: contract, section 4.
"""

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache
from operator import attrgetter
from typing import Final

from msgspec import Struct, to_builtins

from app import flows, json_text
from app.delivery import BESIDE, FLOW_ID, KNOWN, NOTHING, SECTIONS, Document, Notes, Rows, Unread, short_text
from app.events import CallLeg, Dtmf, Email, EmailRecipient, Event, Flow, FlowKey, Recording, Rejected, Sms
from app.ids import Ids, event_id
from app.menu import NO_MENU, Menu, OnLeg, menu
from app.menu import Press as KeyPress
from app.rows import Key, Leg, Press, SentEmail, SentRecording, SentSms
from app.telephony import Times, cause_code, course, e164, instant
from schemas.topics import BY_RECORD, EVENT_KINDS

FUTURE_MS: Final = 5 * 60 * 1000  # how far occurred_at may lie after received_at: clocks differ
_DIRECTIONS: Final = {True: "INBOUND", False: "OUTBOUND", None: "UNKNOWN"}
_KINDS: Final[dict[type[Event], str]] = {
    record: BY_RECORD[record.__name__].kind for record in (CallLeg, Dtmf, Sms, Email, FlowKey, Recording, Flow)
}
_EVENT_ID: Final = attrgetter("event_id")
_SECTION_OF: Final = dict(zip(("call_leg", "sms", "email", "key", "recording"), SECTIONS, strict=True))
_SIGNED_AT: Final = re.compile(r"X-Amz-Date=(\d{8}T\d{6}Z)(?:&|$)", re.ASCII)
_VALID_SECONDS: Final = re.compile(r"X-Amz-Expires=(\d{1,7})(?:&|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """How to read what a delivery leaves open: the zone of times without offset, the region of bare numbers."""

    zone: tzinfo
    region: str


class Split(Struct):
    """What a delivery became."""

    flow_id: str
    events: list[Event] = []
    rejected: list[Rejected] = []

    def counts(self) -> dict[str, int]:
        """How many events there are of each kind."""
        counts = dict.fromkeys(EVENT_KINDS, 0)
        for event in self.events:
            counts[_KINDS[type(event)]] += 1
        return counts


def split(document: Document, *, received_at: int, rules: Rules) -> Split:
    """All events of a delivery, the flows last; received_at in ms since 1970 UTC. Raises TooManyRows."""
    return _Splitter(document, received_at, rules).run()


def flow_id_of(document: Document) -> str:
    """The flow_id of a delivery that is to be split later."""
    return _flow_id(document, Notes(0))


def _flow_id(document: Document, notes: Notes) -> str:
    if document.usual and document.usual.flow_id:
        return document.usual.flow_id
    sent = document.fields.get(FLOW_ID)
    flow_id = short_text(sent)
    if flow_id and not flow_id.isspace():
        return flow_id
    if flow_id is None and sent is not None:
        notes.unreadable(FLOW_ID, sent)
    notes.note(f"{FLOW_ID}:missing")
    return event_id("delivery", json_text.canonical(document.fields))


class _Splitter:
    """One delivery on its way: what all its events share."""

    def __init__(self, document: Document, received_at: int, rules: Rules) -> None:
        self.document = document
        self.received_at = received_at
        self.zone, self.region = rules.zone, rules.region
        self.notes = Notes(0)
        self.flow_id = _flow_id(document, self.notes)
        self.ids = Ids(self.flow_id)
        self.rows = Rows(document)
        self.latest = received_at + FUTURE_MS
        self.did = flows.UNKNOWN_DID
        self.at = received_at
        self.events: list[Event] = []
        self.legs: list[CallLeg] = []
        self.presses: dict[str, list[KeyPress]] = {}  # by the event_id of their leg

    def run(self) -> Split:
        """The sections in turn."""
        rows, events = self.rows, self.events
        for place, leg in enumerate(rows.legs):
            self._leg(leg, rows.notes(place, leg))
        ends = [leg.ended_at for leg in self.legs if leg.ended_at is not None]
        self.at = max(ends) if ends else self._last_sent()
        self.did = flows.main_did(self.legs)
        for place, sms in enumerate(rows.sms):
            events.append(self._sms(sms, rows.notes(place, sms)))
        for place, email in enumerate(rows.emails):
            events.append(self._email(email, rows.notes(place, email)))
        for place, key in enumerate(rows.keys):
            events.append(self._key(key, rows.notes(place, key)))
        for place, recording in enumerate(rows.recordings):
            events.append(self._recording(recording, rows.notes(place, recording)))
        self._flows()
        if self.notes.anomalies:
            for event in events:
                event.anomalies = self.notes.anomalies + event.anomalies
        return Split(self.flow_id, events, list(map(self._rejected, rows.unread)))

    def _leg(self, row: Leg, notes: Notes) -> None:
        """A leg, and the presses on it."""
        zone, cdr_id, callee_type = self.zone, row.cdr_id, row.callee_type
        started, ringing = notes.time("startTime", row.start_time, zone), row.ringing_start_time
        times = Times(
            started,
            notes.time("ringingStartTime", ringing, zone),
            connected := notes.time("connectTime", row.connect_time, zone),
            ended := notes.time("endTime", row.end_time, zone),
        )
        duration_ms, incoming = notes.whole("duration", row.duration), notes.flag("incoming", row.incoming)
        remote_hangup = notes.flag("remoteHangup", row.remote_hangup)
        is_ringing = notes.flag("is_ringing", row.is_ringing)
        became = course(times, duration_ms, cause_code(row.hangup_cause))
        notes.anomalies += became.anomalies
        presses = row.presses or []
        at = ended if ended is not None else connected if connected is not None else started
        at = self.received_at if at is None else at
        leg = CallLeg(  # by position, as events.py says
            self.ids.of("call_leg", cdr_id) if cdr_id else self._content_id("call_leg", row, notes),
            self.flow_id,
            self._number(row.did_number) or flows.UNKNOWN_DID,
            self._not_in_future(at, notes),
            self.received_at,
            notes.anomalies,
            notes.extra,
            cdr_id,
            ("VISITOR" if callee_type == "VISITOR" else "AGENT") if callee_type else "UNKNOWN",
            callee_type,
            self._number(row.callee_number),
            row.did_number,
            _DIRECTIONS[incoming],
            started,
            became.ringing_at,
            connected,
            ended,
            became.answered,
            became.disposition,
            row.hangup_cause,
            duration_ms,
            became.setup_ms,
            became.ring_ms,
            became.talk_ms,
            remote_hangup,
            is_ringing,
            len(presses),
            row.foreign_call_ids or [],
        )
        self.legs.append(leg)
        self.events.append(leg)
        for place, press in enumerate(presses):
            self.events.append(self._press(leg, at, press, self.rows.notes(place, press)))

    def _press(self, leg: CallLeg, leg_at: int, row: Press, notes: Notes) -> Dtmf:
        position = notes.place + 1
        at = notes.time("eventTime", row.event_time, self.zone)
        if leg.role == "VISITOR":
            self.presses.setdefault(leg.event_id, []).append(KeyPress(row.key or "", at))
        return Dtmf(
            event_id=self.ids.of("dtmf", leg.event_id, position),
            flow_id=self.flow_id,
            did=leg.did,
            occurred_at=self._not_in_future(leg_at if at is None else at, notes),
            received_at=self.received_at,
            anomalies=notes.anomalies,
            extra=notes.extra,
            cdr_id=leg.cdr_id,
            role=leg.role,
            direction=leg.direction,
            key=row.key or "",
            label=row.label,
            position=position,
            ms_since_answer=None if at is None or leg.connected_at is None else at - leg.connected_at,
        )

    def _last_sent(self) -> int:
        """When the last message of a delivery without calls was sent."""
        sent = [row.send_time for row in self.rows.sms] + [row.send_time for row in self.rows.emails]
        read = [Notes(0).time("sendTime", text, self.zone) for text in sent]
        return max([at for at in read if at is not None], default=self.received_at)

    def _sms(self, row: SentSms, notes: Notes) -> Sms:
        sent_at = notes.time("sendTime", row.send_time, self.zone)
        return Sms(
            event_id=self.ids.of("sms", row.id, row.delivery_status) if row.id else self._content_id("sms", row, notes),
            flow_id=self.flow_id,
            did=self.did,
            occurred_at=self._not_in_future(self.at if sent_at is None else sent_at, notes),
            received_at=self.received_at,
            anomalies=notes.anomalies,
            extra=notes.extra,
            sms_id=row.id,
            sender=row.sender,
            recipient=self._number(row.to),
            text=row.text,
            text_length=len(row.text or ""),
            delivery_status=row.delivery_status,
        )

    def _email(self, row: SentEmail, notes: Notes) -> Email:
        sent_at = notes.time("sendTime", row.send_time, self.zone)
        statuses, recipients = [], []
        for to in row.addresses or ():
            statuses.append((to.id, to.type, to.delivery_status))
            recipients.append(EmailRecipient(address=to.id, type=to.type, delivery_status=to.delivery_status))
        size_kb = notes.decimal("size", row.size)
        return Email(
            event_id=self.ids.of("email", row.id, statuses) if row.id else self._content_id("email", row, notes),
            flow_id=self.flow_id,
            did=self.did,
            occurred_at=self._not_in_future(self.at if sent_at is None else sent_at, notes),
            received_at=self.received_at,
            anomalies=notes.anomalies,
            extra=notes.extra,
            email_id=row.id,
            sender=row.sender,
            subject=row.subject,
            content=row.content,
            size_kb=size_kb,
            recipients=recipients,
        )

    def _key(self, row: Key, notes: Notes) -> FlowKey:
        name, value = row.name, row.value
        return FlowKey(
            event_id=self.ids.of("key", name, json_text.canonical(value))
            if name
            else self._content_id("key", row, notes),
            flow_id=self.flow_id,
            did=self.did,
            occurred_at=self._not_in_future(self.at, notes),
            received_at=self.received_at,
            anomalies=notes.anomalies,
            extra=notes.extra,
            name=name or "",
            value=value if value is None or type(value) is str else json_text.write(value),
        )

    def _recording(self, row: SentRecording, notes: Notes) -> Recording:
        file_name, url = row.recorded_file_name, row.recorded_file_public_path
        return Recording(
            event_id=self.ids.of("recording", file_name) if file_name else self._content_id("recording", row, notes),
            flow_id=self.flow_id,
            did=self.did,
            occurred_at=self._not_in_future(self.at, notes),
            received_at=self.received_at,
            anomalies=notes.anomalies,
            extra=notes.extra,
            file_name=file_name,
            url=url,
            url_expires_at=_expires_at(url) if url else None,
        )

    def _flows(self) -> None:
        """One flow per visitor DID, the main one first; the document's own unknown fields stand in that."""
        rows, extra = self.rows, self._extra()
        messages = flows.Messages(
            len(rows.sms), len(rows.emails), len(rows.keys), len(rows.recordings), len(rows.unread)
        )
        for did, own in flows.by_did(self.legs, self.did):
            notes = Notes(0, extra=extra)
            id_ = self.ids.of("flow", did, list(map(_EVENT_ID, own)))
            at = self._not_in_future(self.at, notes)
            common = id_, self.flow_id, did, at, self.received_at, notes.anomalies, notes.extra
            self.events.append(flows.flow(own, messages, self._menu(own), common))
            extra, messages = NOTHING, flows.NO_MESSAGES

    def _menu(self, legs: list[CallLeg]) -> Menu:
        """What the caller did in the voice menu."""
        if not self.presses:
            return NO_MENU
        of = self.presses
        return menu([OnLeg(of[leg.event_id], leg.connected_at, leg.ended_at) for leg in legs if leg.event_id in of])

    # ---- what all of them need

    def _content_id(self, kind: str, row: Struct, notes: Notes) -> str:
        """The id of a row without a name of its own, by what was sent: all of a usual document is in its rows."""
        place, document = notes.place, self.document
        sent = to_builtins(row) if document.usual else document.fields[_SECTION_OF[kind]][place]
        return self.ids.of(kind, {"place": place}, json_text.canonical(sent))

    def _rejected(self, part: Unread) -> Rejected:
        content = json_text.canonical(part.value)
        return Rejected(
            event_id=self.ids.of("rejected", part.section, part.place, content),
            flow_id=self.flow_id,
            section=part.section,
            index=part.place,
            reason=part.reason,
            payload=json_text.write(part.value),
            received_at=self.received_at,
        )

    def _extra(self) -> dict[str, str]:
        """The unknown fields of the document and around it."""
        if self.document.usual:
            return self.notes.extra
        unknown = [(name, value) for name, value in self.document.fields.items() if name not in KNOWN]
        for sent, value in (*unknown, *self.document.around.items()):
            name, up = sent, BESIDE
            while name in self.notes.extra:
                name, up = up + name, up + up  # ever further: one by one, 1 MiB of such names took 0.2 s
            if value is not None:
                self.notes.keep(name, value)
        return self.notes.extra

    def _not_in_future(self, at: int, notes: Notes) -> int:
        """When it occurred: what the row says, unless that is far after it was received."""
        if at <= self.latest:
            return at
        notes.note("occurred_at:in_future")
        return self.received_at

    def _number(self, text: str | None) -> str | None:
        return e164(text, self.region) or None if text else None


def _expires_at(url: str) -> int | None:
    """When a signed URL stops working (AWS Signature Version 4, query parameters), ms since 1970 UTC."""
    signed = _SIGNED_AT.search(url, url.find("X-Amz-Date"))  # find is much faster than a pattern
    seconds = _VALID_SECONDS.search(url, url.find("X-Amz-Expires"))
    at = _signed_at(signed[1]) if signed else None
    return at + int(seconds[1]) * 1000 if seconds and at is not None else None


@lru_cache(maxsize=256)
def _signed_at(text: str) -> int | None:
    """When a URL was signed: to the second, so that many deliveries have the same text."""
    return instant(text, UTC)
