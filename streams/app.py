"""The composition root of the workers: settings -> connection, partitions -> Faust app. Import has no effect.

`app` is made when it is first asked for: `faust -A streams.app worker -l info` works beside `python -m streams`.
"""

import asyncio
import logging
import os
import sys
import time
from functools import partial
from typing import Any, Final

import faust
from aiohttp import web
from aiokafka.errors import IllegalStateError
from faust.exceptions import ConsumerNotStarted

from schemas.settings import Settings
from schemas.topics import changelog_name, topic_name
from streams import chunks, connection, gathering, health, measures
from streams.agents import count_flows
from streams.changelog import Place
from streams.ends import Ends
from streams.framing import Framing
from streams.gathering import Gathering
from streams.given import read_or_exit, state_folder
from streams.groups_file import GroupsFile
from streams.log import reason
from streams.partition import Partition, Ports, Topics
from streams.partitions import Partitions
from streams.preflight import Needed, Unfit, expiring, lacking, prepared, wait_for
from streams.rules import Rules

log = logging.getLogger("streams.app")

SESSION_SECONDS: Final = 6.0  # the least that brokers allow (group.min.session.timeout.ms)
HEARTBEAT_SECONDS: Final = 0.5  # it is by a heartbeat that a worker hears of a rebalance
WATCH_SECONDS: Final = 1.0
EXPIRING_SECONDS: Final = 300.0
TELL_SECONDS: Final = 10.0  # what is over sooner, as after a rebalance, is no news


class MetricsApp(faust.App):
    """A Faust app that first checks whether it can work, and says so on its management port."""

    logger = logging.getLogger("faust.app")  # its own comings and goings are Faust's, not ours
    settings: Settings
    kafka: dict[str, Any]  # arguments of aiokafka's clients
    partitions: Partitions
    needed: Needed
    framing: Framing
    file: GroupsFile
    _management: web.AppRunner | None = None
    waiting: str | None = "waiting for Kafka and its topics"
    lack: str | None = None  # what the topics lack since a state was lost
    _asked_at = 0.0
    _policy_at = 0.0
    _ready_at = 0.0
    _told = False  # that it is not ready

    async def start(self) -> None:
        """Start. What Faust's own clients fail with, as where Kafka is gone again, it ends with and does not say."""
        try:
            await super().start()
        except Exception as error:
            if self.should_stop:
                raise
            log.debug("can't start", exc_info=True)
            _give_up(f"can't start: {reason(error)}")

    async def on_first_start(self) -> None:
        """Open the management port, then wait for Kafka, the topics and the schema registry."""
        await super().on_first_start()
        await self._open_management_port()
        try:
            await wait_for(
                partial(prepared, self.kafka, self.needed),
                self.framing.prepare,
                stopping=lambda: self.should_stop,
                tell=partial(setattr, self, "waiting"),
            )
        except Unfit as error:
            _give_up(str(error))
        self.waiting = None

    def trouble(self) -> str | None:
        """Why this worker is not ready; None when it is."""
        return self.waiting or self.lack or self.partitions.trouble()

    def tell(self) -> None:
        """Log that it is not ready, once that has lasted, and that it is again."""
        why, now = self.trouble(), time.monotonic()
        self._ready_at = self._ready_at or now
        if why is None:
            if self._told:
                log.info("ready again")
            self._ready_at, self._told = now, False
        elif not self._told and now - self._ready_at > TELL_SECONDS:
            log.warning("not ready: %s", why)
            self._told = True

    def refused(self, why: str | None) -> None:
        """Note that Kafka does not let us read, or that it does."""
        if why and why != self.waiting:
            log.warning("waiting: %s", why)
        self.waiting = why

    def ended(self, why: str) -> None:
        """End the process: waiting would mend nothing."""
        _give_up(why)

    async def ask_for_topics(self) -> None:
        """Note what the topics lack, from when a state was lost until they lack nothing."""
        if self.lack is None and self.partitions.lost_at() < self._asked_at:
            return
        self._asked_at = time.monotonic()
        lack = await lacking(self.kafka, self.needed)
        if lack and lack != self.lack:
            log.warning("waiting: %s", lack)
        self.lack = lack

    async def ask_for_policy(self) -> None:
        """Tell now and then where Kafka deletes the state: nobody else would notice before figures are wrong."""
        if time.monotonic() < self._policy_at:
            return
        self._policy_at = time.monotonic() + EXPIRING_SECONDS
        policy = await expiring(self.kafka, self.needed)
        measures.STATE_EXPIRES.set(policy is not None)
        if policy:
            log.warning(
                "%s has cleanup.policy %s: Kafka deletes the state, see 'StateExpires' in docs/runbook.md",
                self.needed.changelog, policy,
            )  # fmt: skip

    async def _open_management_port(self) -> None:
        host, port = self.settings.management_host, self.settings.management_port
        pages = health.application(self.trouble, lambda: self.partitions.measure(time.time_ns() // 1_000_000))
        try:
            self._management = await health.serve(pages, host=host, port=port)
        except OSError as error:
            _give_up(f"PHONON_MANAGEMENT_PORT: cannot listen on {host}:{port} ({error.strerror})")

    async def on_shutdown(self) -> None:
        """Close the management port last."""
        await super().on_shutdown()
        if self._management is not None:
            await self._management.cleanup()


def make_app(settings: Settings, rules: Rules, file: GroupsFile) -> MetricsApp:
    """The worker for these settings; nothing is connected before it starts."""
    prefix = settings.topic_prefix
    group, source = f"{prefix}-metrics", topic_name(prefix, "Flow")
    written = Topics(*(topic_name(prefix, name) for name in ("DidMetrics", "DidAlert", "Rejected")))
    together = gathering.Topics(*(topic_name(prefix, name) for name in gathering.TOPICS))
    gathers = bool(settings.groups or settings.rankings)
    app = MetricsApp(group, **_faust_settings(settings), datadir=str(state_folder(settings)))
    app.settings, app.framing, app.file = settings, Framing(settings), file
    app.kafka = connection.arguments(settings.kafka)
    app.needed = Needed(
        group,
        source,
        written.metrics,
        beside=(written.alerts, written.rejected),
        others=together if gathers else (),
        changelog=changelog_name(prefix),
        replication=settings.topic_replication,
    )

    async def seek(partition: int, offset: int) -> None:
        try:
            # not `seek`: it changes aiokafka's consumer from our thread, while that one's own thread uses it
            await app.consumer.seek_wait({faust.types.TP(source, partition): offset})
        except (IllegalStateError, ConsumerNotStarted, TimeoutError):
            log.debug("partition %d is not assigned at present", partition)  # the watch tries again

    def make(partition: int) -> Partition:
        place = Place(group, app.needed.changelog, source, partition, app.kafka)
        return Partition(place, Ports(settings.windows, rules, written, seek, app.framing), beside(place))

    def beside(place: Place) -> Gathering | None:
        if place.partition != 0 or not gathers:
            return None
        ports = gathering.Ports(settings.windows, rules.groups, settings.rankings, together, app.file, app.framing)
        return Gathering(place, ports)

    app.partitions = Partitions(make)
    chunks.install(app)
    topic = app.topic(source, value_serializer="raw", key_serializer="raw", acks=False)
    count_flows(app, topic, app.partitions)
    _connect(app, source)
    return app


def _faust_settings(settings: Settings) -> dict[str, Any]:
    return {
        "broker": connection.urls(settings.kafka),
        "broker_credentials": connection.credentials(settings.kafka),
        "broker_session_timeout": SESSION_SECONDS,
        "broker_heartbeat_interval": HEARTBEAT_SECONDS,
        "broker_request_timeout": 30.0,
        "consumer_auto_offset_reset": "earliest",
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
    }


def _connect(app: MetricsApp, source: str) -> None:
    """Tell the partitions what Faust hears, and keep watch over them."""
    partitions = app.partitions

    @app.on_partitions_revoked.connect(weak=False)
    async def revoked(*_: Any, **__: Any) -> None:
        partitions.revoked()

    @app.on_partitions_assigned.connect(weak=False)
    async def assigned(_: Any, assigned: set[Any], **__: Any) -> None:
        partitions.own(tp.partition for tp in assigned if tp.topic == source)

    @app.on_before_shutdown.connect(weak=False)
    async def stopping(*_: Any, **__: Any) -> None:
        if app.crash_reason is not None:  # Faust says that it has crashed, and not why
            log.critical("crashed", exc_info=app.crash_reason)
        await partitions.stop()

    @app.task  # type: ignore[untyped-decorator]
    async def watch() -> None:
        ends = Ends(source, app.kafka)
        try:
            while not app.should_stop:
                await asyncio.sleep(WATCH_SECONDS)
                await asyncio.to_thread(app.file.look)
                app.tell()
                try:
                    await partitions.watch(await ends.of(partitions.owned))
                except Exception as error:  # noqa: BLE001 - nobody else would look again
                    log.debug("could not look at the logs' ends: %s", error)
        finally:
            ends.close()

    @app.task  # type: ignore[untyped-decorator]
    async def ask() -> None:
        while not app.should_stop:
            await asyncio.sleep(WATCH_SECONDS)
            await app.ask_for_topics()
            await app.ask_for_policy()


def _give_up(line: str) -> None:
    """One line, exit code 1. At once: Faust would print a traceback on the way out of a start that failed."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
    os._exit(1)


def __getattr__(name: str) -> Any:
    """`app`, made when first asked for."""
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = make_app(*read_or_exit())
    return app
