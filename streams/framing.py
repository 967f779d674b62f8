"""How records are framed: headers for those that are written, schemas for those that are read.

Without a schema registry both are known from the start. With one, nothing is written before it has given the ids, and
an id met in a record is asked for on a thread, apart from the counting. What was learned is never asked for again.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from schemas import HEADERS, Resolve, Undecodable, UnknownId, registry_id, without_registry
from schemas.registry import Headers, Registry, RegistryError
from schemas.settings import Settings
from schemas.topics import BY_RECORD

LOOK_UP_SECONDS: Final = 2.0  # between two questions to a registry that did not answer
WRITTEN: Final = ("DidMetrics", "DidAlert", "Rejected", "GroupMetrics", "DidRanking")


class Framing:
    """A worker's framing."""

    def __init__(self, settings: Settings) -> None:
        self._registry: Registry | None = None
        self.headers: Mapping[str, bytes] = {record: HEADERS[BY_RECORD[record].schema] for record in WRITTEN}
        self.resolve: Resolve = without_registry
        if settings.schema_registry_url is not None:
            self._registry = Registry(settings.schema_registry_url)
            self._asked = Headers(self._registry, settings, WRITTEN)
            self.headers, self.resolve = self._asked.found, self._registry.resolve

    async def prepare(self) -> str | None:
        """What is in the way of writing; None once the headers are there."""
        return await asyncio.to_thread(self._asked) or None if self._registry else None

    async def learn(self, ids: Collection[int], tell: Callable[[str], None]) -> None:
        """Look ids up, for as long as it takes; `tell` hears what is in the way, when that is news."""
        told = ""
        while self._registry:
            try:
                return await asyncio.to_thread(self._registry.learn, ids)
            except RegistryError as error:
                if str(error) != told:
                    told = str(error)
                    tell(told)
                await asyncio.sleep(LOOK_UP_SECONDS)
        return None

    def unknown(self, values: Iterable[bytes | None]) -> set[int]:
        """The ids in these values that must be looked up before the values can be read."""
        ids = {registry_id(value) for value in values if value}
        return {id_ for id_ in ids if id_ is not None and not self._known(id_)}

    def _known(self, id_: int) -> bool:
        try:
            self.resolve(id_)
        except UnknownId:
            return False
        except Undecodable:
            pass
        return True
