"""The rows of the provider's document, as structs that msgspec fills in C. Every field is optional.

Pure. Source: the provider's page "Payload Details and Format".
"""

from typing import Annotated, Final

from msgspec import Meta, Struct, field

LONGEST_ID: Final = 256  # ids and DIDs are repeated on every event: a longer one is not read, and stays in extra

# What a field holds once its row is read. A text that is repeated on other events (an id, a DID) must be short; a
# Scalar is read from there on by whoever needs it.
Text = str | None
Scalar = str | int | float | bool | None
ShortText = Annotated[str, Meta(max_length=LONGEST_ID)] | None
Texts = list[str] | None


class Press(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A key that was pressed, in a leg."""

    key: Text = None
    label: Text = None
    event_time: Scalar = None


class Leg(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of callDetails."""

    cdr_id: ShortText = None
    callee_type: Text = None
    callee_number: Text = None
    start_time: Scalar = None
    ringing_start_time: Scalar = None
    connect_time: Scalar = None
    end_time: Scalar = None
    did_number: ShortText = None
    hangup_cause: Text = None
    duration: Scalar = None
    incoming: Scalar = None
    remote_hangup: Scalar = None
    is_ringing: Scalar = field(default=None, name="is_ringing")
    foreign_call_ids: Texts = None
    presses: list[Press] | None = field(default=None, name="dtmfPressesd")


class SentSms(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of smsDetails."""

    send_time: Scalar = None
    id: Text = None
    delivery_status: Text = None
    text: Text = None
    sender: Text = field(default=None, name="from")
    to: Text = None


class Address(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A recipient of an e-mail."""

    id: Text = None
    type: Text = None
    delivery_status: Text = None


class SentEmail(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of emailDetails."""

    send_time: Scalar = None
    id: Text = None
    sender: Text = field(default=None, name="from")
    addresses: list[Address] | None = None
    subject: Text = None
    content: Text = None
    size: Scalar = None


class Key(Struct, gc=False, forbid_unknown_fields=True):
    """A row of keys."""

    name: Text = None
    value: Scalar = None


class SentRecording(Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A row of recordingUrls."""

    recorded_file_name: Text = None
    recorded_file_public_path: Text = None


class Sections(Struct, gc=False):
    """The rows of a document."""

    legs: list[Leg] | None = field(default=None, name="callDetails")
    sms: list[SentSms] | None = field(default=None, name="smsDetails")
    emails: list[SentEmail] | None = field(default=None, name="emailDetails")
    keys: list[Key] | None = None
    recordings: list[SentRecording] | None = field(default=None, name="recordingUrls")


class Usual(Sections, gc=False, forbid_unknown_fields=True):
    """A document with nothing odd in it: its rows are its only lists and objects, so it can't be deep."""

    flow_id: ShortText = field(default=None, name="phonon-uuid")


class Wrapped(Struct, gc=False, forbid_unknown_fields=True):
    """A usual document as it is sent."""

    body: Usual
