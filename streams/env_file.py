"""The `.env` file of a worker, read by the receiver's rule: a file that can't be read as meant is a wrong setting.

python-dotenv alone warns and goes on. The services share no code but `schemas/`, which knows no library for this: so
this is the receiver's `app/env_file.py` once more, and a test holds both to the same answers.
"""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from schemas.settings import SettingsError


def read_env_file(path: Path = Path(".env")) -> Mapping[str, str | None]:
    """What it sets; nothing where there is none. Raises SettingsError, which names the line but does not repeat it."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot read it ({type(error).__name__})") from None
    for found in parse_stream(StringIO(text)):
        if found.error or (found.key is not None and found.value is None):
            line, text = found.original.line, found.original.string  # empty lines before it are a part of it
            empty = text[: -len(text.lstrip())].count("\n")
            raise SettingsError(f"{path}: line {line + empty} is no NAME=value")
    return dotenv_values(stream=StringIO(text))
