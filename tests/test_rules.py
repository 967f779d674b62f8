"""rules: every error says where it is; what is left out has the values that the README names."""

import math

import pytest

from schemas.settings import Window
from streams.metrics import COUNTS, joined
from streams.rules import Figures, RulesError, read_rules

WINDOWS = (Window("5m", 300), Window("1h", 3600), Window("24h", 86_400))
GOOD = '[[rule]]\nname = "rate"\nmetric = "answer_seizure_ratio"\nwindow = "1h"\nbelow = 0.3\n'

WRONG = {
    "no TOML": ("[[rule]]\nname =\n", "Invalid value (at line 2, column 7)"),
    "another table": ("rules = 1\n", "line 1, column 1: object contains unknown field `rules`"),
    "no list": ("rule = 1\n", "line 1, column 1: expected `array`, got `int`"),
    "no name": (GOOD.replace('name = "rate"\n', ""), "line 1, column 1: object missing required field `name`"),
    "an empty name": (GOOD.replace('rate"', ' "'), "line 2, column 1: a rule needs a name of its own"),
    "one name twice": (GOOD + "\n" + GOOD, "line 8, column 1: a rule needs a name of its own"),
    "a metric that is none": (
        GOOD.replace("seizure", "rate"),
        "line 3, column 1: WindowMetrics has no 'answer_rate_ratio'",
    ),
    "a window that is none": (
        GOOD.replace("1h", "2h"),
        "line 4, column 1: expected a window of PHONON_WINDOWS: 5m, 1h, 24h",
    ),
    "text for a number": (GOOD.replace("0.3", '"x"'), "line 5, column 1: expected `float | null`, got `str`"),
    "an unknown field": (GOOD + "  blow = 1\n", "line 6, column 3: object contains unknown field `blow`"),
    "both bounds": (GOOD + "above = 1\n", "line 6, column 1: expected one of below and above"),
    "no bound": (GOOD.replace("below = 0.3\n", ""), "line 1, column 1: expected one of below and above"),
    "a span that is none": (
        GOOD + 'for = "5 min"\n',
        "line 6, column 1: expected whole minutes, hours or days, for example 5m",
    ),
    "another kind": (GOOD + 'kind = "rise"\n', "line 6, column 1: invalid value 'rise'"),
    "a drop over too long": (
        '\n[[rule]]\nkind = "drop"\nname = "d"\nwindow = "24h"\n',
        "line 5, column 1: twice 24h is longer than the longest of PHONON_WINDOWS",
    ),
    "a drop of an average": (
        '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\nmetric = "average_ring_ms"\n',
        "line 5, column 1: expected one of answer_seizure_ratio, network_effectiveness_ratio, short_call_ratio, "
        "agent_answer_ratio, abandonment_ratio, service_level, containment_ratio, no_input_ratio, drop_off_ratio",
    ),
    "a certain drop": (
        '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\nconfidence = 1\n',
        "line 5, column 1: expected a number between 0.5 and 1, for example 0.9999",
    ),
    "DIDs and groups": (GOOD + 'groups = "*"\ndids = "*"\n', "line 6, column 1: expected one of dids and groups"),
    "a drop of a group": (
        '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\n groups = "*"\n',
        "line 5, column 2: only a threshold can be about groups",
    ),
    "a bound that is none": (GOOD.replace("0.3", "nan"), "line 5, column 1: such a rule would never fire, or always"),
    "less than none": (GOOD + "least = -1\n", "line 6, column 1: expected `int` >= 0"),
    "a drop by more than all": (
        '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\nby = 2\n',
        "line 5, column 1: expected `float` <= 1.0",
    ),
    "a silence without end": (
        '[[rule]]\nkind = "silence"\nname = "s"\nexpected = inf\n',
        "line 4, column 1: such a rule would never fire, or always",
    ),
    "a silence of nothing": (
        '[[rule]]\nkind = "silence"\nname = "s"\nexpected = 0\n',
        "line 4, column 1: expected a number of flows above 0",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_says_where_it_is(case: str) -> None:
    text, line = WRONG[case]
    with pytest.raises(RulesError) as error:
        read_rules(text, WINDOWS)
    assert str(error.value) == line


def test_a_silence_needs_an_hour() -> None:
    with pytest.raises(RulesError, match="a silence needs a window of an hour or more"):
        read_rules('[[rule]]\nkind = "silence"\nname = "s"\n', WINDOWS[:1])
    (rule,) = read_rules('[[rule]]\nkind = "silence"\nname = "s"\n', (Window("60m", 3600),)).rules
    assert rule.name == "s"


@pytest.mark.parametrize(("span", "minutes"), [("0m", 0), ("90m", 90), ("2h", 120), ("3d", 3 * 24 * 60)])
def test_spans_are_whole_minutes_hours_or_days(span: str, minutes: int) -> None:
    rule = read_rules(GOOD + f'for = "{span}"\nkeep = "{span}"\nquiet = "{span}"\n', WINDOWS).rules[0]
    assert (rule.hold, rule.keep, rule.quiet) == (minutes, minutes, minutes)


def sums(**counts: int) -> int:
    return joined([counts.get(name, 0) for name in COUNTS])


def test_a_ratio_needs_thirty_unless_told_otherwise() -> None:
    for text, least in ((GOOD, 30), (GOOD + "least = 4\n", 4)):
        rule = read_rules(text, WINDOWS).rules[0]
        few = rule.look(Figures({60: sums(attempts=least - 1)}))
        enough = rule.look(Figures({60: sums(attempts=least)}))
        assert (few, enough) == ((False, 0.0, least - 1, 0.3), (True, 0.0, least, 0.3))


def test_a_count_is_its_own_n() -> None:
    rule = read_rules(GOOD.replace("answer_seizure_ratio", "busy").replace("below", "above"), WINDOWS).rules[0]
    assert rule.look(Figures({60: sums(busy=1)})) == (True, 1, 1, 0.3)
    assert rule.look(Figures({60: 0})) == (False, 0, 0, 0.3)


def test_a_pattern_says_which_dids() -> None:
    rule = read_rules(GOOD + 'dids = ["+9122*", "+9111????0000"]\n', WINDOWS).rules[0]
    dids = ("+912243692987", "+911143690000", "+911143690001", "unknown")
    assert [rule.matches(did) for did in dids] == [True, True, False, False]


def test_a_group_may_be_named_as_it_is_called() -> None:
    """Brackets are a character class in a shell pattern, and may stand in a group's name."""
    rule = read_rules(GOOD + 'groups = "group/sales [EU]"\n', WINDOWS).groups[0]
    assert [rule.matches(name) for name in ("group/sales [EU]", "group/sales [US]")] == [True, False]


def test_a_rule_is_about_dids_or_about_groups() -> None:
    rules = read_rules(
        GOOD + '\n[[rule]]\nname = "g"\nmetric = "busy"\nwindow = "5m"\nabove = 1\ngroups = "group/*"\n', WINDOWS
    )
    (of_dids,), (of_groups,) = rules.rules, rules.groups
    assert (of_dids.name, of_groups.name) == ("rate", "g")
    assert [of_groups.matches(name) for name in ("group/sales", "campaign/x")] == [True, False]
    nobody = read_rules(GOOD + "dids = []\n", WINDOWS).rules[0]
    assert not nobody.matches("+912243692987")


def test_a_drop_is_by_so_much_and_beyond_chance() -> None:
    """By hand: 60 of 100 against 40 of 100 pools to 0.5, z = 0.2 / sqrt(0.25 x 0.02) = 2.83, p = 0.0023."""
    text = '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\n'
    before, now = sums(attempts=100, answered=60), sums(attempts=100, answered=40)
    assert math.isclose(0.2 / math.sqrt(0.25 * 0.02), 2.828, abs_tol=0.001)
    for confidence, holds in ((0.9976, True), (0.9978, False)):
        rule = read_rules(text + f"confidence = {confidence}\n", WINDOWS).rules[0]
        assert rule.look(Figures({60: now, 120: before + now})) == (holds, 0.4, 100, 0.6)
    rule = read_rules(text + "confidence = 0.99\nby = 0.21\n", WINDOWS).rules[0]
    assert not rule.look(Figures({60: now, 120: before + now})).holds
    rule = read_rules(text + "confidence = 0.99\nleast = 101\n", WINDOWS).rules[0]
    assert not rule.look(Figures({60: now, 120: before + now})).holds
    assert read_rules(text, WINDOWS).lengths == {120}


def test_a_drop_needs_enough_calls_before_it_and_in_it() -> None:
    text = '[[rule]]\nkind = "drop"\nname = "d"\nwindow = "1h"\n'
    for now, before in ((100, 1000), (1000, 100)):
        was, total = sums(attempts=before, answered=before * 9 // 10), sums(attempts=now, answered=now * 4 // 10)
        for least, holds in ((100, True), (101, False)):
            rule = read_rules(text + f"least = {least}\n", WINDOWS).rules[0]
            assert rule.look(Figures({60: total, 120: was + total})).holds is holds
