"""The program `phonon-events`: words of a command line in, one function of ours called; how it ends is in exits.py.

Rule: nothing is imported before the command that needs it runs, so that `--help` is quick.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from app.exits import Failed, exit_code, foreseen
from app.terminal import LastCall, Moment, Number, bar, table

if TYPE_CHECKING:
    from schemas.settings import Settings

STDERR_WIDTH: Final = 100
#: How a shell asks, by the scripts of `completion`.
COMPLETE: Final = "_PHONON_EVENTS_COMPLETE"


def main() -> NoReturn:
    """Run the command line and leave with its exit code; or answer a shell that asks what could be typed."""
    if COMPLETE in os.environ:
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(cli, {}, "phonon-events", COMPLETE, os.environ[COMPLETE]))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    return exit_code(cli, arguments or ["--help"])


def _settings() -> "Settings":
    """The settings of environment and `.env`; what is wrong with them ends the program with code 2."""
    from schemas.env_file import read_env_file
    from schemas.settings import read_settings

    with foreseen():
        return read_settings(os.environ, read_env_file())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": STDERR_WIDTH})
@click.version_option(package_name="phonon-events")
def cli() -> None:
    """Turn Phonon's call-flow webhooks into Kafka events, with exact live metrics per DID.

    Settings come from the environment (PHONON_..., KAFKA_...) and from a .env file; the README lists them.
    """


@cli.command()
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Receiver processes; they share the port.",
)
def serve(workers: int) -> None:
    """Run the webhook receiver.

    Example: PHONON_TOKEN=secret phonon-events serve --workers 2
    """
    settings = _settings()
    from app.listen import CantListen
    from app.main import serve as serve_with

    with foreseen(CantListen):
        sys.exit(serve_with(settings, workers))


@cli.command()
def metrics() -> None:
    """Run a metrics worker. Start more of them to share the load.

    Example: PHONON_MANAGEMENT_PORT=9101 phonon-events metrics
    """
    _settings()  # a wrong setting is said here, in one line
    os.execv(sys.executable, [sys.executable, "-P", "-m", "streams"])  # noqa: S606 - our own package, in our place


@cli.group(no_args_is_help=False)
def topics() -> None:
    """Create the topics, or check them."""


@topics.command()
def create() -> None:
    """Create missing topics, and correct settings where that loses nothing. Safe to repeat.

    Example: PHONON_TOPIC_REPLICATION=3 phonon-events topics create
    """
    settings = _settings()
    from app.cluster import ClusterError
    from app.topics import create_topics

    with foreseen(ClusterError):
        done = create_topics(settings)
    for difference in done:
        made = difference.what == "topic"
        click.echo(f"{difference.topic}: " + ("created" if made else f"{difference.what} set to {difference.needed}"))
    if not done:
        click.echo("nothing to do: all topics are as needed")


@topics.command()
def check() -> None:
    """Show how the topics differ from what is needed; exit code 1 if they do.

    Example: phonon-events topics check
    """
    settings = _settings()
    from app.cluster import ClusterError
    from app.topics import check_topics

    with foreseen(ClusterError):
        differences = check_topics(settings)
    if not differences:
        click.echo("all topics are as needed")
        return
    table(("topic", "what", "needed", "found"), [(d.topic, d.what, d.needed, d.found) for d in differences])
    raise Failed(f"{len(differences)} not as needed; `phonon-events topics create` mends what can be mended")


def _topic_names(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """What the shell may complete a topic to."""
    from schemas.topics import RAW, TOPICS

    return [topic.name for topic in (*TOPICS, RAW) if topic.name.startswith(typed)]


@cli.command()
@click.argument("names", metavar="[TOPIC]...", nargs=-1, shell_complete=_topic_names)
@click.option("--from-beginning", is_flag=True, help="Read everything in the topics, not only new records.")
@click.option("--since", type=Moment(), help="Published since then: 2026-11-22T10:00 (UTC), or 10m, 2h ago.")
@click.option("--count", type=click.IntRange(1), help="Stop after this many records.")
@click.option("--no-follow", is_flag=True, help="Stop at the current end instead of waiting for more.")
def tail(names: tuple[str, ...], from_beginning: bool, since: int | None, count: int | None, no_follow: bool) -> None:
    """Print records as JSON lines. Give topics in full (phonon.flow.v1) or short (flow); default: all of ours.

    \b
    Examples: phonon-events tail flow call-leg --from-beginning --count 10 | jq .value.did
              phonon-events tail flow rejected --since 10m --no-follow
    """
    settings = _settings()
    if from_beginning and since is not None:
        raise click.UsageError("give --from-beginning or --since, one of the two")
    from app.cluster import ClusterError
    from app.tail import Span, UnknownTopic, full_names
    from app.tail import tail as read

    try:
        wanted = full_names(settings.topic_prefix, names)
    except UnknownTopic as unknown:
        raise click.UsageError(str(unknown)) from None
    with foreseen(ClusterError):
        span = Span(from_beginning=from_beginning, since=since, count=count, follow=not no_follow)
        read(settings, wanted, sys.stdout, span)


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, readable=False, allow_dash=True))
@click.option(
    "--resume", type=click.Path(dir_okay=False), help="Record progress in this file, and continue from it next time."
)
@click.option("--url", help="Where to post; default: the receiver of these settings.")
@click.option("--synthetic", type=click.IntRange(1), metavar="N", help="Post N synthetic deliveries instead of files.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the synthetic traffic.")
@click.option(
    "--dids", type=click.IntRange(1, 1_000_000), default=40, show_default=True, help="DIDs in the synthetic traffic."
)
@click.option(
    "--duplicates",
    type=Number(0, 1),
    default=0.01,
    show_default=True,
    help="Share of synthetic deliveries that is sent twice.",
)
@click.option("--rough", is_flag=True, help="Synthetic deliveries with missing, unreadable, unknown or broken fields.")
@click.option("--until", type=LastCall(), help="When the last synthetic call ended, UTC; default: now.")
@click.option(
    "--span",
    type=Number(1, 10 * 365 * 86_400),
    default=3600,
    show_default=True,
    help="Seconds that the synthetic calls cover.",
)
@click.option("--rate", type=Number(0.001), help="Deliveries a second; default: as fast as they are accepted.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=16, show_default=True, help="Requests in flight at once."
)
@click.option(
    "--output", type=click.Path(dir_okay=False), help="Write the synthetic deliveries to this .jsonl file instead."
)
@click.option(
    "--expected",
    type=click.Path(dir_okay=False),
    help="Write what each synthetic delivery must become to this .jsonl file.",
)
def send(
    files: tuple[str, ...],
    synthetic: int | None,
    url: str | None,
    output: str | None,
    expected: str | None,
    resume: str | None,
    rate: float | None,
    concurrency: int,
    **traffic: Any,
) -> None:
    """Post deliveries to the receiver. FILES: .json (one), .jsonl or .jsonl.gz (one a line), folders, - (stdin).

    \b
    Examples: phonon-events send delivery.json
              phonon-events send backfill/ --rate 50 --resume backfill.state
              phonon-events send --synthetic 1000 --rate 100
              phonon-events send --synthetic 300 --seed 7 --output traffic.jsonl
    """
    settings = _settings()
    _check_send(files, synthetic, output or expected, resume)
    from app import posting
    from app.send import Unreachable, default_url
    from app.sources import NoState

    url, pace = url or default_url(settings), posting.Pace(concurrency=concurrency, rate=rate)
    with foreseen(Unreachable, NoState, OSError):
        if not synthetic:
            complaint = posting.post_files(settings, url, files, resume, pace)
        else:
            bodies = posting.write(posting.synthetic(synthetic, posting.Traffic(**traffic)), output, expected)
            if output:
                click.echo(f"{sum(1 for _ in bodies)} deliveries written to {output}")
                return
            complaint = posting.post(settings, url, bodies, synthetic, pace).complaint
    if complaint:
        raise Failed(complaint)


def _check_send(files: tuple[str, ...], synthetic: int | None, written: str | None, resume: str | None) -> None:
    """Options that don't go together."""
    if bool(files) == bool(synthetic):
        raise click.UsageError("give FILES or --synthetic N, one of the two")
    if files and written:
        raise click.UsageError("--output and --expected need --synthetic")
    if resume and (synthetic or not all(Path(name).is_file() or Path(name).is_dir() for name in files)):
        raise click.UsageError("--resume needs files: a pipe can't be read from where it stopped")


@cli.command()
@click.option("--from-raw", is_flag=True, help="Split the raw deliveries that PHONON_RAW_TOPIC kept.")
@click.option("--from-rejected", is_flag=True, help="Read the rejected parts and records again.")
@click.option("--since", type=Moment(), help="Received since then: 2026-11-22T10:00 (UTC), or 2h, 3d ago.")
@click.option("--until", type=Moment(), help="Received before then.")
@click.option("--rate", type=Number(0.1), help="Deliveries or parts a second; default: PHONON_DRAIN_RATE.")
@click.option("--dry-run", is_flag=True, help="Show what would be published, and publish nothing.")
def replay(
    from_raw: bool, from_rejected: bool, since: int | None, until: int | None, rate: float | None, dry_run: bool
) -> None:
    """Split stored deliveries again. Publishes what the present code makes of them, under the same ids.

    \b
    Examples: phonon-events replay --from-raw --since 2h --dry-run
              phonon-events replay --from-raw --since 2026-11-22T10:00Z --until 2026-11-22T12:00Z --rate 200
              phonon-events replay --from-rejected
    """
    settings = _settings()
    if from_raw == from_rejected:
        raise click.UsageError("give --from-raw or --from-rejected, one of the two")
    from app.cluster import ClusterError
    from app.replay import How, ReplayFailed, Span, replay_raw, replay_rejected

    logging.getLogger().addHandler(logging.NullHandler())  # what matters of it is in the outcome, or in the one line
    span, run = Span(since=since, until=until), replay_raw if from_raw else replay_rejected
    with foreseen(ClusterError, ReplayFailed), bar("reading") as progress:
        how = How(rate=rate or settings.drain_rate, dry_run=dry_run, progress=progress)
        outcome = run(settings, span, how)
    rows = [("read", outcome.read), ("received at another time", outcome.elsewhen), ("split again", outcome.made)]
    rows += [(f"left: {reason}", number) for reason, number in outcome.left.most_common()]
    table((f"{'raw' if from_raw else 'rejected'} topic", "records"), rows)
    done = "would be published" if dry_run else "published"
    if outcome.published:
        table(("topic", done), sorted(outcome.published.items()))
    else:
        click.echo(f"nothing {done}")
    if from_raw and outcome.left:
        raise Failed(f"{outcome.left.total()} deliveries can't be read by this version, or no more: see what was left")


@cli.group(no_args_is_help=False)
def spool() -> None:
    """Show or publish spooled deliveries. They are waiting on disk for Kafka."""


@spool.command("status")
def spool_status() -> None:
    """Show what is waiting: deliveries, bytes, age of the oldest, damaged files set aside.

    Example: PHONON_SPOOL_DIR=/mnt/old/spool phonon-events spool status
    """
    settings = _settings()
    from app.outlet import status

    with foreseen(OSError):
        waits = status(settings.spool_dir)
    rows = [
        ("deliveries waiting", waits.rows),
        ("bytes", waits.bytes),
        ("oldest, seconds", f"{waits.oldest_age_seconds:.0f}"),
        ("damaged, set aside", waits.damaged),
    ]
    there = "" if settings.spool_dir.is_dir() else " (no such folder)"
    table(("spool", f"{settings.spool_dir.resolve()}{there}"), rows)


@spool.command("drain")
def spool_drain() -> None:
    """Publish what is waiting now, for example from the volume of a host that is gone.

    Example: PHONON_SPOOL_DIR=/mnt/old/spool phonon-events spool drain
    """
    settings = _settings()
    from app.main import drain
    from app.outcomes import SpoolFailed

    if not settings.spool_dir.is_dir():
        raise Failed(f"there is no spool at {settings.spool_dir.resolve()}: PHONON_SPOOL_DIR says where")
    with foreseen(SpoolFailed, OSError), bar("publishing") as progress:
        done = drain(settings, progress)
    click.echo(f"{done} deliveries published")


@cli.command()
def dashboard() -> None:
    """Serve the live page. It shows every DID's figures as they change; default: http://127.0.0.1:8090/.

    Example: PHONON_DASHBOARD_HOST=0.0.0.0 PHONON_DASHBOARD_BASIC_AUTH=lead:secret phonon-events dashboard
    """
    settings = _settings()
    from app.dashboard.server import dashboard as serve_page
    from app.listen import CantListen

    with foreseen(CantListen):
        sys.exit(serve_page(settings))


@cli.command()
def notify() -> None:
    """Send alerts to webhooks. Posts Standard Webhooks messages to the addresses in PHONON_ALERT_WEBHOOK_URL.

    Example: PHONON_ALERT_WEBHOOK_URL=https://hooks.example/alerts phonon-events notify
    """
    settings = _settings()
    from app.listen import CantListen
    from app.notify.server import notify as send_alerts

    with foreseen(CantListen):
        sys.exit(send_alerts(settings))


@cli.command()
@click.option("--rate", type=Number(0.1, 500), default=2.0, show_default=True, help="Calls a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the synthetic traffic.")
def demo(rate: float, seed: int) -> None:
    """Run everything on its own broker. Makes synthetic traffic; Ctrl-C stops it all.

    Example: phonon-events demo --rate 5
    """
    settings = _settings()
    from app.demo.run import run_demo

    with foreseen():
        run_demo(settings, rate=rate, seed=seed)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects, for programs.")
def config(as_json: bool) -> None:
    """Show the effective settings. Says where each comes from; secrets only as set or not.

    Example: PHONON_PORT=8081 phonon-events config
    """
    settings = _settings()
    from confluent_kafka.admin import AdminClient

    from app.cluster import Errors, connect
    from app.main import check_producer
    from schemas.effective import effective
    from schemas.env_file import read_env_file

    with foreseen():
        connect(AdminClient, settings.kafka, Errors(""))  # refuses properties that it does not know
        check_producer(settings)  # and what only a producer reads
    found = effective(os.environ, read_env_file())
    if as_json:
        rows = [{"name": s.name, "value": s.value, "set": s.is_set, "source": s.source} for s in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table(("name", "value", "from"), [(s.name, s.shown, s.source) for s in found])


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell completion script. It completes commands, options and topics.

    \b
    Examples: eval "$(phonon-events completion bash)"      (in ~/.bashrc; zsh the same in ~/.zshrc)
              phonon-events completion fish > ~/.config/fish/completions/phonon-events.fish
    """
    from click.shell_completion import get_completion_class

    kind: Any = get_completion_class(shell)
    click.echo(kind(cli, {}, "phonon-events", COMPLETE).source())
