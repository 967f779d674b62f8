"""Alert rules as people write them: one TOML file, checked whole before the first record is read. Pure.

Every error names the line and column of what is wrong. A rule says what to look at (`metric`, `window`), when that is
bad, how long it must be so (`for`), how long it must not be so until it is over (`keep`), and for how long nothing new
is told after that (`quiet`). Three kinds:

- threshold: a metric is `below` or `above` a bound, and rests on at least `least`;
- drop: a ratio fell against the DID's own window before, by at least `by` and beyond chance, with at least `least` in
  both windows. Beyond chance: two-proportion z-test, one-sided, pooled, at `confidence`; rules are looked at once a
  minute for every DID, so a usual 0.95 would ring all day;
- silence: no flow came for so long that at least `expected` should have come, by what this DID had at this hour before.

A rule is about DIDs (`dids`, all by default) or, a threshold only, about groups of them (`groups`).
"""

import fnmatch
import math
import re
import tomllib
from collections.abc import Callable, Container, Mapping, Sequence
from statistics import NormalDist
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from schemas.settings import Window
from streams.metrics import LANE, LEAST_OF_A_RATIO, RATIO, RATIOS, measure

HOUR_MINUTES: Final = 60
_SPAN: Final = re.compile(r"(\d{1,5})([mhd])")
_MINUTES: Final = {"m": 1, "h": 60, "d": 24 * 60}
#: Shares of things that lie each in one of two windows; a caller is in the later one alone.
_PROPORTIONS: Final = tuple(
    ratio.name for ratio in RATIOS if not ratio.name.startswith("average_") and ratio.below != "callers"
)
_HEADER: Final = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_PATH: Final = re.compile(r"(?P<what>.*?)(?: - at `\$(?:\.rule\[(?P<number>\d+)\])?(?:\.(?P<field>\w+))?.*`)?")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]+)`")


class RulesError(ValueError):
    """A rules file that can't be used; one line that says where and why."""


class Seen(NamedTuple):
    """What a rule found: whether its condition holds, the value, what that rests on, what it was compared with."""

    holds: bool
    value: float | None
    n: int
    threshold: float | None


class Figures(NamedTuple):
    """What a rule looks at: a DID's sums by length of window in minutes, and the flows that a silence lacks.

    `missing` is how many flows should have come since the last one.
    """

    sums: Mapping[int, int]
    missing: float = 0.0


class Rule(NamedTuple):
    """One rule, ready to use. `hold`, `keep` and `quiet` in minutes; `window` is a name, None for a silence."""

    name: str
    metric: str
    window: str | None
    hold: int
    keep: int
    quiet: int
    matches: Callable[[str], bool]
    look: Callable[[Figures], Seen]


class Rules(NamedTuple):
    """All rules about DIDs. `lengths`: windows in minutes that they need beside those that are published.

    `groups` are those about groups.
    """

    rules: tuple[Rule, ...] = ()
    lengths: frozenset[int] = frozenset()
    groups: tuple[Rule, ...] = ()


NO_RULES: Final = Rules()


class _Written(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every rule may say."""

    name: str
    hold: str = msgspec.field(default="0m", name="for")
    keep: str = "0m"
    quiet: str = "0m"
    dids: str | list[str] | None = None
    groups: str | list[str] | None = None


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Threshold(_Written, tag="threshold", kw_only=True):
    metric: str
    window: str
    below: float | None = None
    above: float | None = None
    least: _Count | None = None


class _Drop(_Written, tag="drop", kw_only=True):
    window: str
    metric: str = "answer_seizure_ratio"
    by: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    confidence: float = 0.9999
    least: _Count = 100


class _Silence(_Written, tag="silence", kw_only=True):
    expected: float = 15.0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[_Threshold | _Drop | _Silence] = []


class _Wrong(ValueError):  # noqa: N818 - it says what the field is
    """What is wrong with a field of a rule."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def read_rules(text: str, windows: Sequence[Window]) -> Rules:
    """The rules of a file's text, over windows as they are published. Raises RulesError."""
    written = _read(text)
    rules: dict[str, Rule] = {}
    for number, one in enumerate(written):
        try:
            rules[one.name] = _rule(one, {window.name: window for window in windows}, rules)
        except _Wrong as error:
            raise RulesError(f"{_place(text, number, error.field)}: {error}") from None
    minutes = {window.name: window.seconds // 60 for window in windows}
    lengths = {2 * minutes[one.window] for one in written if isinstance(one, _Drop)}
    silences = any(isinstance(one, _Silence) for one in written)
    of_groups = {one.name for one in written if one.groups is not None}
    return Rules(
        tuple(rule for name, rule in rules.items() if name not in of_groups),
        frozenset(lengths | ({HOUR_MINUTES} if silences else set())),
        tuple(rule for name, rule in rules.items() if name in of_groups),
    )


def _read(text: str) -> Sequence[_Threshold | _Drop | _Silence]:
    """The file's rules in their types; `kind` may be left out of a threshold."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: digits and brackets by the thousand
        raise RulesError(str(error)) from None
    written = content.get("rule")
    for one in written if isinstance(written, list) else ():
        if isinstance(one, dict):
            one.setdefault("kind", "threshold")
    try:
        return msgspec.convert(content, _File).rule
    except msgspec.ValidationError as error:
        found = _PATH.fullmatch(str(error))
        assert found
        unknown = _UNKNOWN.search(found["what"])
        field = unknown[1] if unknown else found["field"] or ""
        number = int(found["number"]) if found["number"] else None
        what = found["what"][:1].lower() + found["what"][1:].replace("Object ", "")
        raise RulesError(f"{_place(text, number, field)}: {what}") from None


def _place(text: str, number: int | None, field: str) -> str:
    """Line and column of a field of a rule, else of the rule, else of what stands alone in the file."""
    lines = text.splitlines()
    headers = [at for at, line in enumerate(lines) if _HEADER.match(line)]
    begin, end = 0, len(lines)
    if number is not None and number < len(headers):
        begin, end = headers[number], (*headers, len(lines))[number + 1]
    wanted = re.compile(rf"\s*(?P<key>\"?{re.escape(field)}\"?)\s*[=.]") if field else None
    for at in range(begin, end):
        found = wanted.match(lines[at]) if wanted else None
        if found:
            return f"line {at + 1}, column {found.start('key') + 1}"
    first = lines[begin] if lines else ""
    return f"line {begin + 1}, column {len(first) - len(first.lstrip()) + 1}"


def _rule(written: _Threshold | _Drop | _Silence, windows: Mapping[str, Window], taken: Container[str]) -> Rule:
    if not written.name.strip() or written.name in taken:
        raise _Wrong("name", "a rule needs a name of its own")
    for field in written.__struct_fields__:
        value = getattr(written, field)
        if isinstance(value, float) and not math.isfinite(value):
            raise _Wrong(field, "such a rule would never fire, or always")
    if written.groups is not None and written.dids is not None:
        raise _Wrong("groups", "expected one of dids and groups")
    if written.groups is not None and not isinstance(written, _Threshold):
        raise _Wrong("groups", "only a threshold can be about groups")
    window = None if isinstance(written, _Silence) else windows.get(written.window)
    longest = max(other.seconds for other in windows.values()) // 60
    if isinstance(written, _Silence):
        look = _silence(written, longest)
    elif window is None:
        raise _Wrong("window", f"expected a window of PHONON_WINDOWS: {', '.join(windows)}")
    elif isinstance(written, _Drop):
        look = _drop(written, window, longest)
    else:
        look = _threshold(written, window)
    return Rule(
        name=written.name,
        metric="flows" if isinstance(written, _Silence) else written.metric,
        window=window.name if window else None,
        hold=_minutes("for", written.hold),
        keep=_minutes("keep", written.keep),
        quiet=_minutes("quiet", written.quiet),
        matches=_pattern(next((given for given in (written.dids, written.groups) if given is not None), "*")),
        look=look,
    )


def _threshold(written: _Threshold, window: Window) -> Callable[[Figures], Seen]:
    is_ratio, length = written.metric in RATIO, window.seconds // 60
    if not is_ratio and written.metric not in LANE:
        raise _Wrong("metric", f"WindowMetrics has no {written.metric!r}")
    if (written.below is None) == (written.above is None):
        raise _Wrong("below" if written.above is None else "above", "expected one of below and above")
    bound = written.below if written.below is not None else written.above
    least = written.least if written.least is not None else LEAST_OF_A_RATIO if is_ratio else 0
    assert bound is not None
    measured = measure(written.metric)

    def look(figures: Figures) -> Seen:
        value, n = measured(figures.sums[length])
        bad = value is not None and (value > bound if written.below is None else value < bound)
        return Seen(bad and n >= least, value, n, bound)

    return look


def _drop(written: _Drop, window: Window, longest: int) -> Callable[[Figures], Seen]:
    if written.metric not in _PROPORTIONS:
        raise _Wrong("metric", f"expected one of {', '.join(_PROPORTIONS)}")
    if not 0.5 < written.confidence < 1:
        raise _Wrong("confidence", "expected a number between 0.5 and 1, for example 0.9999")
    measured, length = measure(written.metric), window.seconds // 60
    if 2 * length > longest:
        raise _Wrong("window", f"twice {window.name} is longer than the longest of PHONON_WINDOWS")
    beyond = NormalDist().inv_cdf(written.confidence)

    def look(figures: Figures) -> Seen:
        total = figures.sums[length]
        value, n = measured(total)
        was, of = measured(figures.sums[2 * length] - total)
        if value is None or was is None or min(n, of) < written.least:
            return Seen(False, value, n, was)
        pooled = (value * n + was * of) / (n + of)
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / of))
        return Seen(was - value >= max(written.by, beyond * deviation), value, n, was)

    return look


def _silence(written: _Silence, longest: int) -> Callable[[Figures], Seen]:
    if longest < HOUR_MINUTES:
        raise _Wrong("kind", "a silence needs a window of an hour or more in PHONON_WINDOWS")
    if written.expected <= 0:
        raise _Wrong("expected", "expected a number of flows above 0")
    return lambda figures: Seen(figures.missing >= written.expected, 0.0, 0, round(figures.missing, 1))


def _minutes(field: str, written: str) -> int:
    found = _SPAN.fullmatch(written)
    if not found:
        raise _Wrong(field, "expected whole minutes, hours or days, for example 5m")
    return int(found[1]) * _MINUTES[found[2]]


def _pattern(written: str | list[str]) -> Callable[[str], bool]:
    """Whether a DID or group is meant: by its name, which may hold brackets, or by a shell pattern."""
    patterns = [written] if isinstance(written, str) else written
    matches = re.compile("|".join(map(fnmatch.translate, patterns))).match
    return lambda name: name in patterns or (bool(patterns) and matches(name) is not None)
