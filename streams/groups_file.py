"""The groups' file, looked at again and again. A version that can't be used is told once, and the one before holds."""

import logging
from pathlib import Path

from streams import measures
from streams.groups import NO_GROUPS, Groups, GroupsError, read_csv, read_toml

log = logging.getLogger("streams.groups")


class GroupsFile:
    """The groups that hold now; `look` belongs on a thread. Raises GroupsError if the first can't be used."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen = self._stamp()
        self.groups: Groups = NO_GROUPS if path is None else _read(path)

    def look(self) -> None:
        """Read the file again if it has changed."""
        stamp = self._stamp()
        if self._path is None or stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.groups = _read(self._path)
        except GroupsError as error:
            log.warning("%s; the groups stay as they were", error)
            measures.GROUPS_REFUSED.set(1)
        else:
            log.info("%d groups read anew from %s", len(self.groups.names), self._path)
            measures.GROUPS_REFUSED.set(0)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size) if found else None


def _read(path: Path) -> Groups:
    """The groups of a file. Raises GroupsError: one line that names the setting and the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return (read_toml if path.suffix.lower() == ".toml" else read_csv)(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise GroupsError(f"PHONON_GROUPS: cannot read {str(path)!r} ({reason})") from None
    except GroupsError as error:
        raise GroupsError(f"PHONON_GROUPS: {path}, {error}") from None
