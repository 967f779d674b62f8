"""groups: which DID is in which group, and where a file is wrong."""

from pathlib import Path

import pytest

from streams import measures
from streams.groups import Groups, GroupsError, read_csv, read_toml
from streams.groups_file import GroupsFile
from streams.rules import RulesError, read_rules

CSV = """\
did,group,campaign
+912243692987,sales,winback
+9111*,support,
+91224369????, sales ,
1800,"north, east",

+912243692987,vip,
"""
TOML = """\
[group.sales]
dids = ["+912243692987", "+91224369????"]

[group.support]
dids = "+9111*"

[campaign.winback]
dids = ["+912243692987"]
"""
TABLE = "expected a table [group.<name>] with dids and nothing else"
SPELT = "expected a DID in E.164, as on the topics, for example +912243692987; got"

WRONG_CSV = {
    "nothing": ("", "line 1: expected a header of did and one or more kinds, for example did,group,campaign"),
    "no kind": ("did\n", "line 1: expected a header of did and one or more kinds, for example did,group,campaign"),
    "a kind twice": (
        "did,group,group\n",
        "line 1, column 3: expected a kind of its own, of letters, digits, _ and -; got 'group'",
    ),
    "another spelling": ("did,group\n\n912243692987,x\n", f"line 3, column 1: {SPELT} '912243692987'"),
    "with spaces": ("did,group\n+91 22 4369 2987,x\n", f"line 2, column 1: {SPELT} '+91 22 4369 2987'"),
    "no DID": ("did,group\n,x\n", f"line 2, column 1: {SPELT} ''"),
    "too many cells": ("did,group\n+912243692987,a,b\n", "line 2: 3 cells under a header of 2"),
    "an open quote": ('did,group\n"+9122*,x\n', "line 2: unexpected end of data"),
    "a control character": (
        "did,group\n+9122*,\x07\n",
        "line 2, column 2: expected a name of at most 128 characters in kind group; got '\\x07'",
    ),
}
WRONG_TOML = {
    "no TOML": ("[group.sales\n", "Expected ']' at the end of a table declaration (at line 1, column 13)"),
    "no table": ("\ngroup = 1\n", f"line 2, column 1: {TABLE}"),
    "no groups": ("[group]\n", f"line 1, column 1: {TABLE}"),
    "no DIDs": ("[group.a]\ndids = []\n\n[group.sales]\n", f"line 4, column 1: {TABLE}"),
    "an unknown field": ("[group.a]\ndids = []\n[group.b]\n  did = []\n", f"line 4, column 3: {TABLE}"),
    "two unknown fields": ("[group.a]\ndids = []\nof = 1\nfrom = 2\n", f"line 3, column 1: {TABLE}"),
    "no text": (
        "[group.a]\ndids = [1]\n",
        'line 2, column 1: expected DIDs as texts, for example dids = ["+912243692987", "+9111*"]',
    ),
    "another spelling": (
        "[group.a]\ndids = [\n  '+9122*',\n  '02243692987',\n]\n",
        f"line 4, column 3: {SPELT} '02243692987'",
    ),
    "an odd kind": (
        "['a b'.c]\ndids = []\n",
        "line 1, column 1: expected a kind of letters, digits, _ and -; got 'a b'",
    ),
}


@pytest.mark.parametrize("groups", [read_csv(CSV), read_toml(TOML)], ids=["csv", "toml"])
def test_a_did_is_in_all_groups_that_name_or_mean_it(groups: Groups) -> None:
    assert set(groups.of("+912243692987")) >= {"group/sales", "campaign/winback"}
    assert groups.of("+912243690000") == ("group/sales",)
    assert groups.of("+911143690000") == ("group/support",)
    assert groups.of("unknown") == ()


def test_a_csv_may_name_a_did_twice_and_quote() -> None:
    groups = read_csv(CSV)
    assert groups.names == ("group/sales", "campaign/winback", "group/support", "group/north, east", "group/vip")
    assert groups.of("+912243692987") == ("group/sales", "campaign/winback", "group/vip")
    assert groups.of("1800") == ("group/north, east",)


@pytest.mark.parametrize("case", WRONG_CSV)
def test_an_error_of_a_csv_says_where_it_is(case: str) -> None:
    text, line = WRONG_CSV[case]
    with pytest.raises(GroupsError) as error:
        read_csv(text)
    assert str(error.value) == line


@pytest.mark.parametrize("odd", ["9" * 5_000, "[" * 5_000], ids=["digits", "brackets"])
def test_a_toml_that_python_gives_up_is_an_error_like_others(odd: str) -> None:
    """Read anew, it ended the worker; as rules it was a traceback."""
    with pytest.raises(GroupsError):
        read_toml(f"a = {odd}")
    with pytest.raises(RulesError):
        read_rules(f"a = {odd}", ())


@pytest.mark.parametrize("case", WRONG_TOML)
def test_an_error_of_a_toml_says_where_it_is(case: str) -> None:
    text, line = WRONG_TOML[case]
    with pytest.raises(GroupsError) as error:
        read_toml(text)
    assert str(error.value) == line


def test_a_file_is_read_again_when_it_has_changed_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("\ufeffdid,group\n+9122*,a\n", encoding="utf-8")
    file = GroupsFile(path)
    first = file.groups
    assert first.names == ("group/a",)
    file.look()
    assert file.groups is first
    for text, warned, refused in (("did,group\n+9122*,b,c\n", 1, 1), ("did,group\n+9122*,b\n", 1, 0)):
        path.write_text(text)
        file.look()
        file.look()
        assert len([one for one in caplog.records if one.levelname == "WARNING"]) == warned
        assert measures.GROUPS_REFUSED._value.get() == refused
    assert f"PHONON_GROUPS: {path}, line 2: 3 cells under a header of 2; the groups stay" in caplog.text
    assert file.groups.names == ("group/b",)
    path.unlink()
    file.look()
    file.look()
    assert file.groups.names == ("group/b",)
    assert caplog.text.count("No such file") == 1
    with pytest.raises(GroupsError, match=r"PHONON_GROUPS: cannot read '.*' \(No such file"):
        GroupsFile(path)
