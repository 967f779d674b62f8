"""What a worker is given: settings, alert rules, groups and a folder, all looked at before anything starts."""

import os
import sys
from pathlib import Path

from schemas.env_file import read_env_file
from schemas.settings import Settings, SettingsError, read_settings
from streams import connection
from streams.groups import GroupsError
from streams.groups_file import GroupsFile
from streams.ranking import Ranking
from streams.rules import NO_RULES, Rules, RulesError, read_rules


def read_or_exit() -> tuple[Settings, Rules, GroupsFile]:
    """Settings, alert rules and groups, from environment and .env; one line and exit code 2 where they are wrong."""
    try:
        settings = read_settings(os.environ, read_env_file())
        connection.check(settings.kafka)
        _make_state_folder(settings)
        return settings, _rules(settings), _groups(settings)
    except (SettingsError, GroupsError, OSError) as error:
        print(f"settings: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def state_folder(settings: Settings) -> Path:
    """Faust's own folder. Faust makes it, but not its parents."""
    return settings.state_dir / f"{settings.topic_prefix}-metrics"


def _make_state_folder(settings: Settings) -> None:
    """Raises SettingsError where it can't be made."""
    try:
        state_folder(settings).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"PHONON_STATE_DIR is {str(settings.state_dir)!r}: {error.strerror}") from None


def _rules(settings: Settings) -> Rules:
    """The alert rules. Raises SettingsError."""
    path = settings.alert_rules
    if path is None:
        return NO_RULES
    try:
        rules = read_rules(path.read_text(encoding="utf-8-sig"), settings.windows)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SettingsError(f"PHONON_ALERT_RULES: cannot read {str(path)!r} ({reason})") from None
    except RulesError as error:
        raise SettingsError(f"PHONON_ALERT_RULES: {path}, {error}") from None
    if rules.groups and settings.groups is None:
        name = rules.groups[0].name
        raise SettingsError(f"PHONON_ALERT_RULES: {path}: {name!r} is about groups, and PHONON_GROUPS is not set")
    return rules


def _groups(settings: Settings) -> GroupsFile:
    """The groups; the rankings are looked at too. Raises SettingsError or GroupsError."""
    for ranked in settings.rankings:
        try:
            Ranking(ranked, settings.windows)
        except ValueError as error:
            raise SettingsError(f"PHONON_RANKINGS: {error}") from None
    return GroupsFile(settings.groups)
