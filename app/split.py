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
from app.events import CallLeg, Dtmf, Email, EmailRecipient, Event, Flow, FlowKey, Recording, Rejected, Sms
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
        events += self._flows(legs, flows.Messages(len(sms), len(emails), len(keys), len(recordings)))
        return self.result

    def _leg(self, place: int, fields: dict[str, Any]) -> list[Event]:
        """A leg, and the presses on it."""
        row = Row(fields)
        cdr_id, callee_type = row.short_text("cdrId"), row.text("calleeType")
        times = Times(
            started=row.time("startTime", self.zone),
            ringing=row.time("ringingStartTime", self.zone),
            connected=row.time("connectTime", self.zone),
            ended=row.time("endTime", self.zone),
        )
        did_as_sent, hangup_cause, duration_ms = (
            row.short_text("didNumber"),
            row.text("hangupCause"),
            row.whole("duration"),
        )
        became = course(times, duration_ms, cause_code(hangup_cause))
        row.anomalies += became.anomalies
        presses = list(self._objects(f"callDetails[{place}].dtmfPressesd", row.take("dtmfPressesd")))
        at = next(at for at in (times.ended, times.connected, times.started, self.received_at) if at is not None)
        leg = CallLeg(
            cdr_id=cdr_id,
            role=("VISITOR" if callee_type == "VISITOR" else "AGENT") if callee_type else "UNKNOWN",
            callee_type=callee_type,
            callee_number=self._number(row.text("calleeNumber")),
            did_as_sent=did_as_sent,
            direction=_DIRECTIONS[row.flag("incoming")],
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
            remote_hangup=row.flag("remoteHangup"),
            is_ringing=row.flag("is_ringing"),
            dtmf_count=len(presses),
            foreign_call_ids=row.texts("foreignCallIds"),
            **self._common(
                row,
                self.ids.of("call_leg", (cdr_id,) if cdr_id else None, place, fields),
                did=self._number(did_as_sent) or flows.UNKNOWN_DID,
                at=at,
            ),
        )
        return [leg, *(self._press(leg, at, index + 1, press) for index, press in presses)]

    def _press(self, leg: CallLeg, leg_at: int, position: int, fields: dict[str, Any]) -> Dtmf:
        row = Row(fields)
        at = row.time("eventTime", self.zone)
        return Dtmf(
            cdr_id=leg.cdr_id,
            role=leg.role,
            direction=leg.direction,
            key=row.text("key") or "",
            label=row.text("label"),
            position=position,
            ms_since_answer=None if at is None or leg.connected_at is None else at - leg.connected_at,
            **self._common(
                row,
                self.ids.of("dtmf", (leg.event_id, position)),
                did=leg.did,
                at=leg_at if at is None else at,
            ),
        )

    def _sms(self, message: _Message) -> Sms:
        place, fields, row, sent_at = message
        sms_id, delivery_status, text = row.text("id"), row.text("deliveryStatus"), row.text("text")
        return Sms(
            sms_id=sms_id,
            sender=row.text("from"),
            recipient=self._number(row.text("to")),
            text=text,
            text_length=len(text or ""),
            delivery_status=delivery_status,
            **self._common(
                row, self.ids.of("sms", (sms_id, delivery_status) if sms_id else None, place, fields), at=sent_at
            ),
        )

    def _email(self, message: _Message) -> Email:
        place, fields, row, sent_at = message
        email_id, recipients = row.text("id"), self._recipients(row)
        statuses = [(to.address, to.type, to.delivery_status) for to in recipients]
        return Email(
            email_id=email_id,
            sender=row.text("from"),
            subject=row.text("subject"),
            content=row.text("content"),
            size_kb=row.decimal("size"),
            recipients=recipients,
            **self._common(
                row, self.ids.of("email", (email_id, statuses) if email_id else None, place, fields), at=sent_at
            ),
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
        return FlowKey(name=name or "", value=value, **self._common(row, self.ids.of("key", natural, place, fields)))

    def _recording(self, place: int, fields: dict[str, Any]) -> Recording:
        row = Row(fields)
        file_name, url = row.text("recordedFileName"), row.text("recordedFilePublicPath")
        return Recording(
            file_name=file_name,
            url=url,
            url_expires_at=_expires_at(url or ""),
            **self._common(row, self.ids.of("recording", (file_name,) if file_name else None, place, fields)),
        )

    def _flows(self, legs: list[CallLeg], messages: flows.Messages) -> Iterator[Flow]:
        """One flow per visitor DID, the main one first; the document's own unknown fields stand in that."""
        around = Row(self.around).extra() | self.row.extra()
        for did, own in flows.by_did(legs, self.did):
            main = did == self.did
            ids = [leg.event_id for leg in own]
            common = self._common(self.row, self.ids.of("flow", (did, ids)), did=did)
            yield Flow(
                main=main,
                **common | {"extra": around if main else {}},
                **flows.summary(own),
                **(messages if main else flows.NO_MESSAGES)._asdict(),
                rejected_count=len(self.result.rejected) if main else 0,
            )

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

    def _common(self, row: Row, id_: str, *, did: str | None = None, at: int | None = None) -> dict[str, Any]:
        """The fields of every event; without a DID or a time of its own it has the flow's."""
        at = self.at if at is None else at
        anomalies = [*self.anomalies, *row.anomalies]
        if at > self.received_at + FUTURE_MS:
            at = self.received_at
            anomalies.append("occurred_at:in_future")
        return {
            "event_id": id_,
            "flow_id": self.result.flow_id,
            "did": did or self.did,
            "occurred_at": at,
            "received_at": self.received_at,
            "anomalies": anomalies,
            "extra": row.extra(),
        }

    def _number(self, text: str | None) -> str | None:
        return e164(text, self.region) or None if text else None


def _expires_at(url: str) -> int | None:
    """When a signed URL stops working (AWS Signature Version 4, query parameters), ms since 1970 UTC."""
    signed, seconds = _SIGNED_AT.search(url), _VALID_SECONDS.search(url)
    at = instant(signed[1], UTC) if signed else None
    return at + int(seconds[1]) * 1000 if seconds and at is not None else None
