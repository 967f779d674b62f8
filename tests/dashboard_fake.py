"""Made-up figures in place of Kafka, for what concerns the page alone: how it looks, and how fast it is.

    python -m tests.dashboard_fake [DIDS] [CHANGES_PER_SECOND] [PORT] [ALERTS]

The figures agree with each other as a worker's do: every ratio follows from its counts.
"""

import dataclasses
import math
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn

from app.dashboard.alerts import Alert, read_alert
from app.dashboard.figures import latest
from app.dashboard.server import Page
from app.dashboard.source import Batch, Link, Source
from schemas import SCHEMAS, encode
from schemas.registry import Registry
from schemas.settings import Settings, read_settings
from tests.did_metrics import ratios

WINDOWS = (("5m", 300), ("1h", 3600), ("24h", 86_400))
FIELDS = SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]["fields"][4:]
LISTS = [field["name"] for field in FIELDS if isinstance(field["type"], dict)]
BINS = [name for name in LISTS if name.endswith("_bins")]
#: What a window says with one number.
FIGURES = [field["name"] for field in FIELDS if field["name"] not in LISTS]
#: A voice menu: what callers choose at each place, and how often; "" is for those who choose no more.
MENU: dict[str, dict[str, int]] = {
    "": {"1": 46, "2": 31, "3": 14, "0": 5, "*": 1, "other": 3},
    "1": {"1": 40, "2": 25, "9": 8, "": 27},
    "1>1": {"data": 62, "0": 10, "": 28},
    "1>2": {"1": 30, "2": 30, "#": 4, "": 36},
    "2": {"1": 35, "2": 30, "3": 15, "": 20},
    "2>1": {"data": 70, "other": 6, "": 24},
    "3": {"data": 80, "": 20},
}
PLACES = 100
CAUSES = ("no_answer", "busy", "rejected", "cancelled", "bad_number", "unreachable", "congestion", "unknown_cause")
CITIES = ("22", "11", "80", "44", "33", "40")


#: Alerts of several kinds; without a window it is a silence, without a DID a group's.
RULES: list[dict[str, Any]] = [
    {"rule": "few answers", "metric": "answer_seizure_ratio", "window": "5m", "value": 0.312, "threshold": 0.5},
    {
        "rule": "answer rate dropped",
        "metric": "answer_seizure_ratio",
        "window": "1h",
        "value": 0.41,
        "threshold": 0.634,
    },
    {"rule": "short calls", "metric": "short_call_ratio", "window": "1h", "value": 0.61, "threshold": 0.4},
    {
        "rule": "long waits",
        "metric": "average_time_to_agent_ms",
        "window": "5m",
        "value": 94_500.0,
        "threshold": 60_000.0,
    },
    {"rule": "callers give up", "metric": "abandonment_ratio", "window": "5m", "value": 0.27, "threshold": 0.1},
    {"rule": "silent", "metric": "attempts", "window": None, "value": 0.0, "n": 0, "threshold": 42.5},
    {
        "rule": "campaign bursts",
        "metric": "attempts",
        "window": "5m",
        "value": 812.0,
        "n": 812,
        "threshold": 500.0,
        "did": None,
        "group": "campaign spring",
    },
]

Deliver = Callable[[Batch], None]
Say = Callable[[Link], None]


class Line:
    """One DID: its counts per window, and how it behaves."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self.chance = chance
        self.did = f"+91{CITIES[number % 6]}{40_000_000 + number * 7919 % 9_000_000}"
        self.answers = chance.uniform(0.3, 0.85)
        self.agents = chance.uniform(0.2, 0.9)
        self.swift = chance.uniform(0.4, 0.95)
        self.talk = chance.lognormvariate(5.0, 0.35)
        self.inbound = chance.random() < 0.7
        self.counts = [dict.fromkeys(FIGURES, 0) for _ in WINDOWS]
        self.habits = random.Random(number)
        self.paths = [Counter[tuple[str, bool]]() for _ in WINDOWS]

    def call(self, among: range = range(len(WINDOWS))) -> None:
        """One more call in these windows."""
        call = self._call()
        path = self._path() if "flows_reached" in call else None
        call |= self._caller(call) | self._keys(call, path)
        for window in among:
            for name, number in call.items():
                self.counts[window][name] += number
            if path:
                self.paths[window][path, "flows_to_agent" not in call] += 1

    def rest(self, part: float) -> None:
        """Let a part of the shortest window go by."""
        self.counts[0] = {name: math.floor(number * part) for name, number in self.counts[0].items()}
        known = sorted(self.paths[0].elements())
        self.paths[0] = Counter(self.habits.sample(known, self.counts[0]["flows_with_key"]))
        self.counts[0]["flows_dropped_off"] = sum(number for (_, left), number in self.paths[0].items() if left)

    def forget_callers(self) -> None:
        """As without PHONON_PSEUDONYM_KEY."""
        for counts in self.counts:
            counts |= dict.fromkeys(("callers", "repeat_callers", "flows_traceable", "flows_contained"), 0)

    def _caller(self, call: dict[str, int]) -> dict[str, int]:
        reached, kind = "flows_reached" in call, self.habits.random()
        contained = reached and "flows_to_agent" not in call and self.habits.random() < 0.85
        told = {"flows_traceable": int(reached), "flows_contained": int(contained)}
        return told | {"callers": int(kind < 0.88), "repeat_callers": int(kind < 0.09)}

    def _path(self) -> str | None:
        """What a caller who was reached chose."""
        if self.habits.random() < 0.12:
            return None
        path, choice = "", self._choice("")
        while choice:
            path = f"{path}>{choice}" if path else choice
            choice = self._choice(path)
        return path

    def _choice(self, place: str) -> str:
        offered = MENU.get(place, {"": 1})
        return self.habits.choices(list(offered), list(offered.values()))[0]

    def _keys(self, call: dict[str, int], path: str | None) -> dict[str, int]:
        if path is None:
            return {"flows_without_key": 1} if "flows_reached" in call else {}
        first, last = self.habits.randrange(2_000, 11_000), self.habits.randrange(4_000, 60_000)
        keys = {"flows_with_key": 1, "flows_dropped_off": int("flows_to_agent" not in call)}
        return keys | {"first_key_ms": first, "first_keys_timed": 1, "after_last_key_ms": last, "last_keys_timed": 1}

    def _call(self) -> dict[str, int]:
        chance, way = self.chance, "inbound" if self.inbound else "outbound"
        call = {"attempts": 1, f"{way}_attempts": 1, "flows": 1, "rung": 1, "ring_ms": chance.randrange(3_000, 25_000)}
        if chance.random() > self.answers:
            return call | {chance.choices(CAUSES, (30, 14, 6, 4, 4, 2, 3, 1))[0]: 1}
        talk = round(chance.lognormvariate(math.log(self.talk), 0.6) * 1000)
        call |= {
            "answered": 1,
            f"{way}_answered": 1,
            "flows_reached": 1,
            "talk_ms": talk,
            "short_calls": int(talk < 10_000),
        }
        call |= {"dtmf_presses": chance.randrange(4), "sms": int(chance.random() < 0.4), "recordings": 1}
        if chance.random() < self.agents:
            call |= {"flows_to_agent": 1, "agent_attempts": chance.choice((1, 1, 2))}
            if chance.random() < 0.93:
                wait = round(chance.expovariate(1 / (28_000 * (1.05 - self.swift))))
                call |= {"agent_answered": 1, "agent_talk_ms": talk, "agents_timed": 1, "time_to_agent_ms": wait}
                call |= {"served_in_time": int(wait <= 20_000)}
            else:
                call |= {"flows_abandoned": 1}
        return call

    def value(self, now: int) -> bytes:
        """The record, framed."""
        end = (now // 60_000 + 1) * 60_000
        group = "/" in self.did
        windows = [
            {"name": name, "seconds": s, "start": end - s * 1000, "end": end}
            | counts
            | derived(counts)
            | {"menu": menu(paths)}
            | (legs | {"peak_legs": None} if group else legs)
            for (name, s), counts, paths, legs in zip(WINDOWS, self.counts, self.paths, busy(self.counts), strict=True)
        ]
        record = {"did": self.did, "as_of": now, "windows": windows, "legs_settled_until": now - 240_000}
        return encode("DidMetrics", record)


def menu(paths: Counter[tuple[str, bool]]) -> list[dict[str, Any]]:
    """The places that callers came by, as a worker writes them."""
    flows, left = Counter[str](), Counter[str]()
    for (path, gone), number in paths.items():
        choices = path.split(">")
        flows.update({">".join(choices[: n + 1]): number for n in range(len(choices))})
        left[path] += number * gone
    most = sorted((-number, path) for path, number in flows.items() if number)[:PLACES]
    return [{"path": path, "flows": -number, "left": left[path]} for number, path in most]


def busy(counts: list[dict[str, int]]) -> list[dict[str, Any]]:
    """About how many legs were up at once, window by window; a window's peak is at least that of a shorter one."""
    found, peak = [], 0
    for (_, seconds), window in zip(WINDOWS, counts, strict=True):
        mean = sum(window[name] for name in ("talk_ms", "ring_ms", "agent_talk_ms")) / (1000 * seconds)
        peak = max(peak, math.ceil(2 * mean))
        found.append({"peak_legs": peak, "mean_legs": mean})
    return found


def derived(counts: dict[str, int]) -> dict[str, Any]:
    """What follows from the counts; no distributions."""
    times = {name: counts["talk_ms"] and 1000 + len(name) for name in FIGURES if re.search(r"_p\d\d_ms", name)}
    return ratios(counts) | times | {name: [] for name in BINS}


def lines(number: int, seed: int = 1) -> list[Line]:
    """DIDs with their past, the first the busiest."""
    chance, found = random.Random(seed), []
    for n in range(number):
        line = Line(chance, n)
        share = 900 / (n + 1) ** 0.75
        for among, calls in ((range(3), share / 22), (range(1, 3), share / 5), (range(2, 3), share)):
            for _ in range(min(400, round(calls * chance.uniform(0.6, 1.4)))):
                line.call(among)
        found.append(line)
    return found


def alerts(some: list[Line], number: int, now: int) -> list[bytes]:
    """The records of that many alerts that fire and as many that are over, over these DIDs; the newest last."""
    chance, found = random.Random(3), []
    for n in range(2 * number):
        line, length = chance.choice(some[: 3 * number]), chance.randrange(60_000, 5_000_000)
        kind: dict[str, Any] = chance.choice(RULES)
        calls = max(kind.get("n", 0), chance.randrange(100, 900))
        made = {"alert_id": f"alert-{n}", "group": None, "state": "FIRING", "did": line.did, "n": calls} | kind
        made |= {"since": now - 3 * length, "as_of": now - 3 * length + 120_000}
        found.append((made["since"], encode("DidAlert", made)))
        if n % 2:
            over = made | {"state": "RESOLVED", "as_of": now - 2 * length}
            found.append((over["as_of"], encode("DidAlert", over)))
    return [value for _, value in sorted(found, key=lambda one: one[0])]


def fake_source(number: int, per_second: float, of_alerts: int = 0) -> type[Source]:
    """A source of that many DIDs, changes a second, and alerts, one of which begins or ends every few seconds."""

    class Fake(Source):
        def __init__(self, settings: Settings, registry: Registry | None, deliver: Deliver, say: Say) -> None:
            self._deliver, self._say = deliver, say
            self._stop = threading.Event()
            self._lines = lines(number)
            self._thread = threading.Thread(target=self._run, daemon=True)

        def _run(self) -> None:
            chance, now = random.Random(2), round(time.time() * 1000)
            self._say(Link("connected", "", now, loaded=True))
            self._deliver(Batch([latest(line.value(now), now) for line in self._lines]))
            told = [read_alert(value) for value in alerts(self._lines, of_alerts, now)]
            self._tell(*told)
            owed = 0.0
            while not self._stop.wait(0.25):
                owed += per_second / 4
                some = [self._lines[min(int(chance.paretovariate(0.6)) - 1, number - 1)] for _ in range(int(owed) // 2)]
                some += [chance.choice(self._lines) for _ in range(int(owed) - len(some))]
                owed -= int(owed)
                now = round(time.time() * 1000)
                if told and chance.random() < 0.1:
                    one = chance.choice(told)._replace(since=now - 60_000, as_of=now, firing=True, id=str(now))
                    self._tell(one, chance.choice(told)._replace(as_of=now, firing=False))
                for line in some:
                    if chance.random() < 0.08:
                        line.rest(chance.uniform(0.5, 1))
                    line.call()
                self._deliver(
                    Batch([latest(line.value(now), now) for line in {line.did: line for line in some}.values()])
                )

        def _tell(self, *alerts: Alert) -> None:
            self._deliver(Batch(alerts=alerts))

    return Fake


def main() -> None:
    given, usual = sys.argv[1:], ["40", "3", "8090", "4"]
    number, per_second, port, of_alerts = (int(text) for text in given + usual[len(given) :])
    settings = dataclasses.replace(read_settings({}), dashboard_port=port)
    page = Page(settings, fake_source(number, per_second, of_alerts))
    uvicorn.run(page.app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
