"""A schema registry, asked over HTTP: headers for what is written, schemas for what is read.

Its rules:
- It blocks: it belongs on a thread, never on an event loop and never within a request. What was once said is kept, so
  that a registry which goes away later is not missed.
- Only the registry's own answer counts: "no such id" makes a record bad, another server's 404 does not.
- Credentials of the URL go into one header, and into no text.
- `RegistryError` is one line that says what to do. Nothing here tries again by itself: whoever waits decides how long.

Refused: confluent_kafka.schema_registry's client. It brings nine packages, 32 MB and 0.7 s of CPU to each process for
four requests, and tries again within a call. (The tests read with it.)
Source: Confluent's Schema Registry API, v7; proved on Apicurio 3.0.9.
"""

import json
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from schemas import (
    HEADERS,
    SCHEMAS,
    Resolve,
    Undecodable,
    UnknownId,
    Written,
    canonical_text,
    registry_header,
    without_registry,
    written_by,
)
from schemas.settings import Settings
from schemas.topics import BY_RECORD, topic_name
from schemas.userinfo import basic, parted

COMPATIBILITY: Final = "FULL_TRANSITIVE"
MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
ANSWER_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 2.0
#: A registry of several nodes may not know at once what another one registered.
BELIEVED_SECONDS: Final = 60.0
MOST_ABSENT: Final = 10_000
#: Ids are Java's ints. Asked for more, a registry answers as for a wrong path, and the record's partition would wait.
HIGHEST_ID: Final = 2**31 - 1

NO_SUBJECT, NO_SCHEMA, CONFLICT, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 40401, 40403, 409, 401, 403, 404


class RegistryError(Exception):
    """The registry can't do what was asked, at least not now; the text is one line."""


class Refused(RegistryError):  # noqa: N818 - it names what happened
    """The registry's answer is no."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.code, message = status, 0, ""
        try:
            answer = json.loads(body)
            self.code, message = int(answer["error_code"]), str(answer.get("message", ""))
        except (ValueError, KeyError, TypeError):
            pass
        super().__init__(f"{status} {' '.join(message.split())[:200]}".rstrip())


class _NoRedirect(HTTPRedirectHandler):
    """urllib would carry the credentials to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class Registry:
    """A registry, and what it has said so far."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        bare, user = parted(url)
        parts = urlsplit(bare)
        self.address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._headers = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
        if user is not None:
            self._headers["Authorization"] = basic(user)
        self._opener = build_opener(_NoRedirect)
        self._clock = clock
        self._written: dict[int, Written | str] = {}  # or why it is none of ours
        self._absent: dict[int, float] = {}  # until when that is believed
        self._failed: tuple[str, float] = "", 0.0

    def header(self, subject: str, record: str, *, register: bool) -> bytes:
        """The header of a record's values under this subject. Raises RegistryError."""
        ours = {"schema": canonical_text(SCHEMAS[record]), "schemaType": "AVRO"}
        place = quote(subject, safe="")
        try:
            if not register:
                return registry_header(self._registered(place, record, ours)["id"])
            self._ask("PUT", f"/config/{place}", {"compatibility": COMPATIBILITY})
            return registry_header(self._ask("POST", f"/subjects/{place}/versions", ours)["id"])
        except Refused as refusal:
            raise self._explained(refusal, subject, record) from None
        except (KeyError, TypeError, ValueError, struct.error) as odd:
            raise RegistryError(f"{self._at()} gave an answer without an id ({type(odd).__name__})") from None

    def _registered(self, place: str, record: str, ours: dict[str, Any]) -> dict[str, Any]:
        """The version of a subject that is our schema: by our text, or else the latest if it says the same."""
        try:
            return self._ask("POST", f"/subjects/{place}", ours)
        except Refused as refusal:
            if refusal.code != NO_SCHEMA:
                raise
            latest = self._ask("GET", f"/subjects/{place}/versions/latest")
            try:
                if written_by(latest["schema"]).header == HEADERS[record]:
                    return latest
            except Undecodable:
                pass
            raise refusal from None

    def resolve(self, id_: int) -> Written:
        """What an id means, as far as it was looked up; no I/O. Raises UnknownId or Undecodable."""
        found = self._written.get(id_)
        if found is None:
            if id_ > HIGHEST_ID or self._clock() < self._absent.get(id_, 0.0):
                raise Undecodable(f"the schema registry has no id {id_}")
            raise UnknownId(id_)
        if isinstance(found, str):
            raise Undecodable(f"schema id {id_}: {found}")
        return found

    def learn(self, ids: Iterable[int]) -> None:
        """Look ids up. Raises RegistryError where the registry can't say at present."""
        for id_ in ids:
            try:
                answer = self._ask("GET", f"/schemas/ids/{id_}")
            except Refused as refusal:
                if refusal.code != NO_SCHEMA:
                    raise self._explained(refusal) from None
                if len(self._absent) >= MOST_ABSENT:
                    self._absent.clear()
                self._absent[id_] = self._clock() + BELIEVED_SECONDS
                continue
            try:
                self._written[id_] = written_by(answer.get("schema", ""))
            except Undecodable as reason:
                self._written[id_] = str(reason)

    def look_up(self, id_: int) -> Written:
        """What an id means, asked for where it is not known yet: for whoever may block. Raises Undecodable.

        Where the registry is away that is the reason, and for a moment it is not asked again.
        """
        try:
            return self.resolve(id_)
        except UnknownId:
            reason, until = self._failed
            if self._clock() >= until:
                try:
                    self.learn([id_])
                    return self.resolve(id_)
                except RegistryError as error:
                    reason = str(error)
                    self._failed = reason, self._clock() + RETRY_SECONDS
        raise Undecodable(f"schema id {id_}: {reason}")

    def _ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        request = Request(self.address + path, method=method, data=body, headers=self._headers)  # noqa: S310 - see settings
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return dict(json.loads(answer.read()))
        except HTTPError as refusal:
            raise Refused(refusal.code, _read(refusal)) from None
        except (ValueError, TypeError):
            raise RegistryError(f"no schema registry at {self.address}: what answers is no JSON object") from None
        except (OSError, HTTPException) as error:
            raise RegistryError(f"{self._at()} does not answer ({_reason(error)})") from None

    def _at(self) -> str:
        return f"the schema registry at {self.address}"

    def _explained(self, refusal: Refused, subject: str = "", record: str = "") -> RegistryError:
        """The refusal as one line with a way out."""
        if refusal.status in (UNAUTHORIZED, FORBIDDEN):
            return RegistryError(f"{self._at()} refuses the credentials of SCHEMA_REGISTRY_URL ({refusal})")
        if refusal.status == CONFLICT:
            return RegistryError(f"{self._at()}: {subject} refuses our {record}, as incompatible ({refusal})")
        if refusal.code in (NO_SUBJECT, NO_SCHEMA):
            way = "PHONON_REGISTER_SCHEMAS=true registers it"
            return RegistryError(f"{self._at()}: {subject} does not hold our {record}; {way} ({refusal})")
        if refusal.status == NOT_FOUND:
            return RegistryError(f"no schema registry at {self.address}: look at the path of SCHEMA_REGISTRY_URL (404)")
        return RegistryError(f"{self._at()} answers {refusal}")


class Headers:
    """The headers of the records that one process writes; calling it asks the registry until all are there.

    Blocks, and belongs to one thread at a time.
    """

    def __init__(self, registry: Registry, settings: Settings, records: Iterable[str]) -> None:
        self.registry = registry
        self.found: dict[str, bytes] = {}
        self._missing = {record: f"{topic_name(settings.topic_prefix, record)}-value" for record in records}
        self._register = settings.register_schemas
        self._problem, self._again_at = "", 0.0

    def __call__(self) -> str:
        """What is in the way, or nothing; asks at most every RETRY_SECONDS."""
        if self._problem and time.monotonic() < self._again_at:
            return self._problem
        self._problem = ""
        try:
            for record, subject in list(self._missing.items()):
                self.found[record] = self.registry.header(subject, BY_RECORD[record].schema, register=self._register)
                del self._missing[record]
        except RegistryError as error:
            self._problem, self._again_at = str(error), time.monotonic() + RETRY_SECONDS
        return self._problem


def resolver(settings: Settings) -> Resolve:
    """What ids mean, for a reader that may block; where the settings name no registry, nothing."""
    return Registry(settings.schema_registry_url).look_up if settings.schema_registry_url else without_registry


def _read(refusal: HTTPError) -> bytes:
    """What came with a refusal."""
    try:
        return refusal.read(10_000)
    except (OSError, HTTPException):
        return b""


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"nothing within {ANSWER_SECONDS:g} s"
    said = str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
    return " ".join(said.split())[:200]  # http.client quotes what speaks another protocol, with its line's end
