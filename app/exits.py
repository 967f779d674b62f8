"""How a command ends: an exit code, and one line on stderr for whatever went wrong, never a traceback.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
PROGRAM: Final = "phonon-events"


class Failed(click.ClickException):
    """What the user asked for could not be done; the text is one line."""

    exit_code = FAILED


class WrongSettings(click.ClickException):
    """A setting is wrong; the text is one line that names it."""

    exit_code = WRONG_USAGE


def exit_code(command: click.Command, arguments: list[str]) -> int:
    """The exit code of a command line, which it runs; whatever that raises becomes one line on stderr."""
    try:
        return _invoked(command, arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except click.UsageError as wrong:
        path = wrong.ctx.command_path if wrong.ctx else PROGRAM
        return _said(f"{wrong.format_message()} (see {path} --help)", WRONG_USAGE)
    except click.ClickException as failure:
        return _said(failure.format_message(), failure.exit_code)
    except Exception as unexpected:  # noqa: BLE001 - a person is told what, in one line; a traceback tells nobody
        return _said(f"{type(unexpected).__name__}: {unexpected}", FAILED)


def _invoked(command: click.Command, arguments: list[str]) -> int:
    """Not click's own `main`: that answers a closed pipe with code 1, and an interrupt with an empty line."""
    try:
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
    except click.exceptions.Exit as left:
        return left.exit_code
    return DONE


def _said(text: str, code: int) -> int:
    click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)
    return code


@contextmanager
def foreseen(*failures: type[Exception]) -> Iterator[None]:
    """Turns failures that were foreseen into the program's own."""
    from schemas.settings import SettingsError

    try:
        yield
    except SettingsError as wrong:
        raise WrongSettings(str(wrong)) from None
    except BrokenPipeError:  # no failure: whoever reads us has had enough
        raise
    except failures as failure:
        if isinstance(failure, OSError) and failure.filename:
            raise Failed(f"{failure.filename}: {failure.strerror}") from None
        raise Failed(str(failure)) from None
