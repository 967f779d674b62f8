"""split: one delivery -> its events, each with an id that only what happened decides.

Pure: no clock (received_at is an argument), no chance, no I/O. Legs are read first: they say which DID and which time
the rest belongs to. Source: contract, section 4.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final, NamedTuple

from app import flows, json_text
from app.delivery import FLOW_ID, Document, Row
from app.events import CallLeg, Common, Dtmf, Email, EmailRecipient, Event, Flow, FlowKey, Recording, Rejected, Sms
from app.ids import Ids, event_id
from app.telephony import Times, cause_code, course, e164, instant
from schemas.topics import BY_RECORD, EVENT_KINDS

FUTURE_MS: Final = 5 * 60 * 1000  # how far occurred_at may lie after received_at: clocks differ
MOST_ROWS: Final = 50_000
_DIRECTIONS: Final = {True: "INBOUND", False: "OUTBOUND", None: "UNKNOWN"}
_SIGNED_AT: Final = re.compile(r"X-Amz-Date=(\d{8}T\d{6}Z)(?:&|$)", re.ASCII)
_VALID_SECONDS: Final = re.compile(r"X-Amz-Expires=(\d{1,7})(?:&|$)", re.ASCII)


class TooManyRows(ValueError):  # noqa: N818 - it names what the delivery has
    """A delivery with more rows than any flow has: its events would not fit into memory."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to read what a delivery leaves open: the zone of times without offset, the region of bare numbers."""

    zone: tzinfo
    region: str


@dataclass(slots=True)
class Split:
    """What a delivery became."""

    flow_id: str
    events: list[Event] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many events there are of each kind."""
        counts = dict.fromkeys(EVENT_KINDS, 0)
        for event in self.events:
            counts[BY_RECORD[type(event).__name__].kind] += 1
        return counts


class _Message(NamedTuple):
    """An SMS or e-mail whose time is read and whose rest is not."""

    place: int
    fields: dict[str, Any]
    row: Row
    sent_at: int | None


def split(document: Document, *, received_at: int, rules: Rules) -> Split:
    """All events of a delivery, the flows last; received_at in ms since 1970 UTC. Raises TooManyRows."""
    return _Splitter(document, received_at, rules).run()


class _Splitter:
    """One delivery on its way: what all its events share."""

    def __init__(self, document: Document, received_at: int, rules: Rules) -> None:
        self.row = Row(document.fields)
        self.around = document.around
        self.received_at = received_at
        self.zone, self.region = rules.zone, rules.region
        flow_id = self.row.short_text(FLOW_ID)
        if not flow_id or flow_id.isspace():
            flow_id = event_id("delivery", json_text.canonical(document.fields))
            self.row.anomalies.append(f"{FLOW_ID}:missing")
        self.anomalies = tuple(self.row.anomalies)
        self.row.anomalies.clear()
        self.result = Split(flow_id)
        self.ids = Ids(flow_id)
        self.rows = 0
        self.did = flows.UNKNOWN_DID
        self.at = received_at

    def run(self) -> Split:
        """The sections in turn."""
        events = self.result.events
        for place, fields in self._section("callDetails"):
            events += self._leg(place, fields)
        legs = [event for event in events if type(event) is CallLeg]
        sms, emails = self._messages("smsDetails"), self._messages("emailDetails")
        ends = [leg.ended_at for leg in legs if leg.ended_at is not None]
        sent = [message.sent_at for message in (*sms, *emails) if message.sent_at is not None]
        self.at = max(ends or sent or [self.received_at])
        self.did = flows.main_did(legs)
        events += map(self._sms, sms)
        events += map(self._email, emails)
        keys: list[Event] = [self._key(place, fields) for place, fields in self._section("keys")]
        recordings = [self._recording(place, fields) for place, fields in self._section("recordingUrls")]
        events += [*keys, *recordings]
        events += self._flows(
            legs, flows.Messages(len(sms), len(emails), len(keys), len(recordings), len(self.result.rejected))
        )
        return self.result

    def _leg(self, place: int, fields: dict[str, Any]) -> list[Event]:
        """A leg, and the presses on it."""
        row = Row(fields)
        cdr_id, callee_type, callee = row.short_text("cdrId"), row.text("calleeType"), row.text("calleeNumber")
        times = Times(
            started=row.time("startTime", self.zone),
            ringing=row.time("ringingStartTime", self.zone),
            connected=row.time("connectTime", self.zone),
            ended=row.time("endTime", self.zone),
        )
        did_as_sent, hangup_cause = row.short_text("didNumber"), row.text("hangupCause")
        duration_ms, incoming = row.whole("duration"), row.flag("incoming")
        remote_hangup, is_ringing = row.flag("remoteHangup"), row.flag("is_ringing")
        foreign_call_ids = row.texts("foreignCallIds")
        became = course(times, duration_ms, cause_code(hangup_cause))
        row.anomalies += became.anomalies
        presses = list(self._objects(f"callDetails[{place}].dtmfPressesd", row.take("dtmfPressesd")))
        at = next(at for at in (times.ended, times.connected, times.started, self.received_at) if at is not None)
        id_ = self.ids.of("call_leg", (cdr_id,) if cdr_id else None, place, fields)
        leg = CallLeg(
            *self._common(row, id_, did=self._number(did_as_sent) or flows.UNKNOWN_DID, at=at),
            cdr_id=cdr_id,
            role=("VISITOR" if callee_type == "VISITOR" else "AGENT") if callee_type else "UNKNOWN",
            callee_type=callee_type,
            callee_number=self._number(callee),
            did_as_sent=did_as_sent,
            direction=_DIRECTIONS[incoming],
            started_at=times.started,
            ringing_at=became.ringing_at,
            connected_at=times.connected,
            ended_at=times.ended,
            answered=became.answered,
            disposition=became.disposition,
            hangup_cause=hangup_cause,
            duration_ms=duration_ms,
            setup_ms=became.setup_ms,
            ring_ms=became.ring_ms,
            talk_ms=became.talk_ms,
            remote_hangup=remote_hangup,
            is_ringing=is_ringing,
            dtmf_count=len(presses),
            foreign_call_ids=foreign_call_ids,
        )
        return [leg, *[self._press(leg, at, index + 1, press) for index, press in presses]]

    def _press(self, leg: CallLeg, leg_at: int, position: int, fields: dict[str, Any]) -> Dtmf:
        row = Row(fields)
        key, label, at = row.text("key"), row.text("label"), row.time("eventTime", self.zone)
        id_ = self.ids.of("dtmf", (leg.event_id, position))
        return Dtmf(
            *self._common(row, id_, did=leg.did, at=leg_at if at is None else at),
            cdr_id=leg.cdr_id,
            role=leg.role,
            direction=leg.direction,
            key=key or "",
            label=label,
            position=position,
            ms_since_answer=None if at is None or leg.connected_at is None else at - leg.connected_at,
        )

    def _sms(self, message: _Message) -> Sms:
        place, fields, row, sent_at = message
        sms_id, delivery_status, text = row.text("id"), row.text("deliveryStatus"), row.text("text")
        sender, recipient = row.text("from"), row.text("to")
        id_ = self.ids.of("sms", (sms_id, delivery_status) if sms_id else None, place, fields)
        return Sms(
            *self._common(row, id_, at=sent_at),
            sms_id=sms_id,
            sender=sender,
            recipient=self._number(recipient),
            text=text,
            text_length=len(text or ""),
            delivery_status=delivery_status,
        )

    def _email(self, message: _Message) -> Email:
        place, fields, row, sent_at = message
        email_id, sender, recipients = row.text("id"), row.text("from"), self._recipients(row)
        subject, content, size_kb = row.text("subject"), row.text("content"), row.decimal("size")
        statuses = [(to.address, to.type, to.delivery_status) for to in recipients]
        id_ = self.ids.of("email", (email_id, statuses) if email_id else None, place, fields)
        return Email(
            *self._common(row, id_, at=sent_at),
            email_id=email_id,
            sender=sender,
            subject=subject,
            content=content,
            size_kb=size_kb,
            recipients=recipients,
        )

    def _recipients(self, row: Row) -> list[EmailRecipient]:
        """The recipients that can be read; where one can't, or holds more than we know, all are kept in extra too."""
        sent = row.take("addresses")
        rows = [Row(item) for item in sent if isinstance(item, dict)] if isinstance(sent, list) else []
        read = [
            EmailRecipient(address=to.text("id"), type=to.text("type"), delivery_status=to.text("deliveryStatus"))
            for to in rows
        ]
        unread = sent is not None and (not isinstance(sent, list) or len(rows) < len(sent))
        if unread or any(to.anomalies for to in rows):
            row.unreadable("addresses", sent)
        elif any(to.extra() for to in rows):
            row.keep("addresses", sent)
        return read

    def _key(self, place: int, fields: dict[str, Any]) -> FlowKey:
        row = Row(fields)
        name, value = row.text("name"), row.json("value")
        natural = (name, json_text.canonical(fields.get("value"))) if name else None
        return FlowKey(*self._common(row, self.ids.of("key", natural, place, fields)), name=name or "", value=value)

    def _recording(self, place: int, fields: dict[str, Any]) -> Recording:
        row = Row(fields)
        file_name, url = row.text("recordedFileName"), row.text("recordedFilePublicPath")
        id_ = self.ids.of("recording", (file_name,) if file_name else None, place, fields)
        return Recording(
            *self._common(row, id_), file_name=file_name, url=url, url_expires_at=_expires_at(url) if url else None
        )

    def _flows(self, legs: list[CallLeg], messages: flows.Messages) -> Iterator[Flow]:
        """One flow per visitor DID, the main one first; the document's own unknown fields stand in that."""
        for field_name, value in self.around.items():
            self.row.keep_new(field_name, value)
        row = self.row
        for did, own in flows.by_did(legs, self.did):
            common = self._common(row, self.ids.of("flow", (did, [leg.event_id for leg in own])), did=did)
            yield flows.flow(common, own, messages)
            row, messages = Row({}), flows.NO_MESSAGES

    # what all of them need

    def _section(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        return self._objects(name, self.row.take(name))

    def _messages(self, section: str) -> list[_Message]:
        rows = [(place, fields, Row(fields)) for place, fields in self._section(section)]
        return [_Message(place, fields, row, row.time("sendTime", self.zone)) for place, fields, row in rows]

    def _objects(self, section: str, value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of a list that are objects, with their places; what is no list or no object is rejected."""
        if value is None:
            return
        if not isinstance(value, list):
            self._reject(section, None, "not a list", value)
            return
        self.rows += len(value)
        if self.rows > MOST_ROWS:
            raise TooManyRows(f"more than {MOST_ROWS} rows")
        for place, item in enumerate(value):
            if isinstance(item, dict):
                yield place, item
            else:
                self._reject(section, place, "not an object", item)

    def _reject(self, section: str, index: int | None, reason: str, value: Any) -> None:
        self.result.rejected.append(
            Rejected(
                flow_id=self.result.flow_id,
                section=section,
                index=index,
                reason=reason,
                payload=json_text.write(value),
                received_at=self.received_at,
            )
        )

    def _common(self, row: Row, id_: str, *, did: str | None = None, at: int | None = None) -> Common:
        """The fields of every event, once its row is read; without a DID or a time of its own it has the flow's."""
        at = self.at if at is None else at
        anomalies = [*self.anomalies, *row.anomalies]
        if at > self.received_at + FUTURE_MS:
            at = self.received_at
            anomalies.append("occurred_at:in_future")
        return id_, self.result.flow_id, did or self.did, at, self.received_at, anomalies, row.extra()

    def _number(self, text: str | None) -> str | None:
        return e164(text, self.region) or None if text else None


def _expires_at(url: str) -> int | None:
    """When a signed URL stops working (AWS Signature Version 4, query parameters), ms since 1970 UTC."""
    signed, seconds = _SIGNED_AT.search(url), _VALID_SECONDS.search(url)
    at = instant(signed[1], UTC) if signed else None
    return at + int(seconds[1]) * 1000 if seconds and at is not None else None
