"""The workers' part of `make soak`: faults in random order for minutes, then golden run against failure run.

    python -m tests.soak_workers [--minutes 5] [--seed 1] [--rate 200]

Workers are killed, paused until others have their partitions, scaled and restarted; the broker crashes; flows come in
steadily. At the end each DID's last record must equal that of a run that nothing happened to, a recount of all that was
sent, and the synthetic provider's own account. Exit code 1 otherwise.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from app.demo.broker import jars
from tests import golden
from tests.flow_traffic import FlowTopic, Workers
from tests.processes import Processes
from tests.worker_faults import Faults

PREFIX = "soak"
SETTLED_WITHIN_SECONDS = 120.0


def soak(minutes: float, *, seed: int, rate: int) -> bool:
    """Run it; a line for each fault, and one of figures at the end. Says whether all was right."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name, jars(os.environ, print) as kafka:
        processes, folder = Processes(Path(name)), Path(name)
        rough, calm = (FlowTopic(kafka.bootstrap_servers, prefix, seed=seed) for prefix in (PREFIX, f"{PREFIX}-calm"))
        provided, workers = golden.Provided(seed), Workers(processes, rough, folder)
        faults = Faults(workers, kafka, seed)
        try:
            for topic in (rough, calm):
                topic.create()
            workers.start(0)
            workers.start(1)
            workers.wait_ready(0, 1)
            with rough.traffic(rate // 2, iter(provided)):
                _walk(faults, minutes)
            undisturbed = Workers(processes, calm, folder)
            undisturbed.start(0)
            calm.follow(rough)
            for group in (undisturbed, workers):
                group.wait_idle(SETTLED_WITHIN_SECONDS)
            moment = golden.close(rough)  # as late as can be: all must be counted before it comes
            calm.follow(rough)
            for group in (undisturbed, workers):
                group.wait_idle(SETTLED_WITHIN_SECONDS)
            silences, latest, expected = faults.silences(rough), rough.latest(), calm.latest()
        finally:
            processes.stop_all()
    unlike = [did for did in latest.keys() | expected.keys() if latest.get(did) != expected.get(did)]
    wrong, accounts = rough.wrong(latest), golden.wrong_accounts(provided, rough, latest, moment)
    say(
        f"seed {seed}: {len(faults.phases)} faults, {faults.kills} kills, {len(rough.log)} records of "
        f"{len(latest)} DIDs; unlike the undisturbed run {len(unlike)}, wrong {len(wrong)}, unlike the provider's "
        f"account {len(accounts)}; longest silence {max(silences.values(), default=0):.1f} s {silences}"
    )
    for line in [*unlike, *wrong, *accounts][:10]:
        say(line)
    return not (unlike or wrong or accounts)


def _walk(faults: Faults, minutes: float) -> None:
    """Faults until the time is over."""
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        done, fault = len(faults.phases), faults.chance.choice(faults.all)
        fault()
        for phase in faults.phases[done:]:
            say(f"{phase.name:30} {(phase.ended - phase.begun) / 1000:.1f} s")


def say(line: str) -> None:
    """A line at once."""
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak_workers", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=200)
    options = parser.parse_args()
    return 0 if soak(options.minutes, seed=options.seed, rate=options.rate) else 1


if __name__ == "__main__":
    sys.exit(main())
