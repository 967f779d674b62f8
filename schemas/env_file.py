"""The `.env` file beside which a command runs: settings that the environment may override.

Unlike python-dotenv, which warns and goes on, a file that can't be read as meant is a wrong setting.
"""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from schemas.settings import SettingsError

ENV_FILE: Final = Path(".env")


def read_env_file() -> Mapping[str, str | None]:
    """What it sets; nothing where there is none. Raises SettingsError, which names the line but does not repeat it."""
    try:
        if not ENV_FILE.is_file():
            return {}
    except PermissionError:  # a folder that we may not look into, as another user's home is
        return {}
    try:
        text = ENV_FILE.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE}: cannot read it ({type(error).__name__})") from None
    for found in parse_stream(StringIO(text)):
        if found.error or (found.key is not None and found.value is None):
            line, text = found.original.line, found.original.string  # empty lines before it are a part of it
            empty = text[: -len(text.lstrip())].count("\n")
            raise SettingsError(f"{ENV_FILE}: line {line + empty} is no NAME=value")
    return dotenv_values(stream=StringIO(text))
