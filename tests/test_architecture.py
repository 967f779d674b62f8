"""Who may import what: the rules that keep the two services apart and the middle pure, read from the source by `ast`.

Each rule is a function from the import graph to its violations, and is itself tested on a small bad graph.
"""

import ast
import re
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "app", "streams")
Imports = Mapping[str, set[str]]

#: How a module says in its docstring that it only computes: time, chance and files are arguments there (the demo's draw
#: from a seeded `Random`).
CLAIM = re.compile(r"(?m)(?:^|[.:] )[Pp]ure\b")

EFFECTS = {"asyncio", "logging", "os", "pathlib", "random", "socket", "subprocess", "tempfile", "threading", "time"}
LIBRARIES = {"msgspec", "phonenumbers"}

ONLY_FOR = {
    "app.publish": {"app.main"},
    "app.producer": {"app.main", "app.publish"},
    "app.spool": {"app.main", "app.outlet"},
    "app.outlet": {"app.main", "app.cli"},
    "schemas.registry": {
        *(
            "app.main",
            "app.tail",
            "app.replay",
            "app.demo.run",
            "app.dashboard.server",
            "app.dashboard.source",
            "app.notify.server",
            "app.notify.source",
            "streams.framing",
        ),
    },
}
"""What does I/O at the ends: what else needs it gets it as an argument, from a composition root or a shell."""


def imports_of(source: str) -> set[str]:
    """Return every module that a source names in an import, wherever in the file; for `from a import b` a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources() -> dict[str, str]:
    """Return module -> source of all our code."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for path in paths
    }


def project() -> Imports:
    """Return module -> imports of all our code."""
    return {name: imports_of(source) for name, source in sources().items()}


def pure() -> set[str]:
    """Return the modules that say of themselves that they are."""
    return {name for name, source in sources().items() if CLAIM.search(ast.get_docstring(ast.parse(source)) or "")}


def top(module: str) -> str:
    return module.partition(".")[0]


def ours(graph: Imports) -> dict[str, set[str]]:
    """Return the graph with only our own modules in it."""
    return {name: imports & graph.keys() for name, imports in graph.items()}


def impure(graph: Imports, pure: set[str]) -> set[str]:
    """Return what pure modules import and may not: effects, other libraries, siblings that are not pure."""
    wrong = set()
    for name in pure:
        effects = EFFECTS - ({"random"} if name.startswith("app.demo.") else set())
        outside = {top(module) for module in graph[name]} - set(PACKAGES)
        wrong |= {f"{name} imports {module}" for module in outside if module in effects}
        wrong |= {f"{name} imports {module}" for module in outside - sys.stdlib_module_names - LIBRARIES}
        near = {module for module in graph[name] & graph.keys() if top(module) != "schemas"}
        wrong |= {f"{name} imports {module}" for module in near - pure - set(PACKAGES)}
    return wrong


def strangers(graph: Imports) -> set[str]:
    """Return imports across the services, and of anything but fastavro and dotenv in what both share."""
    wrong = set()
    for name, imports in graph.items():
        forbidden = {"app": {"streams"}, "streams": {"app"}, "schemas": {"app", "streams"}}[top(name)]
        wrong |= {f"{name} imports {module}" for module in imports if top(module) in forbidden}
        if top(name) == "schemas":
            known = sys.stdlib_module_names | {"schemas", "fastavro", "dotenv"} | forbidden
            wrong |= {f"{name} imports {module}" for module in {top(module) for module in imports} - known}
    return wrong


def intruders(graph: Imports, only_for: Mapping[str, set[str]]) -> set[str]:
    """Return imports of guarded modules by others than those they are for."""
    return {
        f"{name} imports {guarded}"
        for guarded, allowed in only_for.items()
        for name, imports in graph.items()
        if guarded in imports and name not in allowed
    }


def cycle(graph: Imports) -> list[str]:
    """Return one import cycle, empty if there is none."""
    try:
        TopologicalSorter(ours(graph)).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def test_pure_modules_only_compute() -> None:
    assert {"app.split", "app.credentials", "app.demo.calls", "streams.table", "schemas.encoding"} <= pure()
    assert impure(project(), pure()) == set()


def test_the_services_share_only_schemas() -> None:
    assert strangers(project()) == set()


def test_the_ends_of_the_receiver_are_joined_in_one_place() -> None:
    assert intruders(project(), ONLY_FOR) == set()


def test_no_import_goes_round_in_a_circle() -> None:
    assert cycle(project()) == []


def test_the_rules_can_be_broken() -> None:
    bad = {
        "schemas": imports_of("import fastavro, requests, json"),
        "app.pure": imports_of("def f() -> None:\n    from time import time\n"),
        "app.other": imports_of("import msgspec, numpy\nfrom app import publish"),
        "app.publish": imports_of("import os, streams.bucket\nfrom app.other import x"),
        "streams.bucket": imports_of("from app.pure import f"),
    }
    assert impure(bad, {"app.pure", "app.other"}) == {
        "app.pure imports time",
        "app.other imports numpy",
        "app.other imports app.publish",
    }
    assert strangers(bad) == {
        "schemas imports requests",
        "app.publish imports streams.bucket",
        "streams.bucket imports app.pure",
        "streams.bucket imports app.pure.f",
    }
    assert intruders(bad, {"app.publish": {"app.main"}}) == {"app.other imports app.publish"}
    assert set(cycle(bad)) == {"app.publish", "app.other"}
