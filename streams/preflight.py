"""What must be there before the first record is read: a broker that answers, the topics, and the state's log.

A broker or topic that is missing is waited for, with a line now and then; what waiting can't mend is `Unfit`.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidConfigurationError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    PolicyViolationError,
    SaslAuthenticationFailed,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)

from schemas.refusals import (
    NOT_PERMITTED,
    REFUSED_CERTIFICATE,
    UNTRUSTED_CERTIFICATE,
    WRONG_CREDENTIALS,
    WRONG_PROTOCOL,
)
from schemas.topics import COMPACTED, TIDY, in_sync_config
from streams.closing import let_go
from streams.log import reason

log = logging.getLogger("streams.preflight")

SAY_EVERY: Final = 10  # tries between two lines
PAUSE_SECONDS: Final = 1.0
REFUSED_WITHIN_SECONDS: Final = 1.0  # of the end of a handshake

#: As it should be; and as it may be where the cluster refuses that, which only makes it longer to read.
CHANGELOG_CONFIGS: Final = (
    COMPACTED | TIDY | {"max.compaction.lag.ms": "3600000", "delete.retention.ms": "3600000"},
    COMPACTED,
)
POLICY: Final = "cleanup.policy"
NOT_ITS_SETTINGS: Final = (InvalidConfigurationError, PolicyViolationError)


DENIED: Final = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
#: What waiting does not mend, and the setting to look at.
REFUSALS: Final = (
    (SaslAuthenticationFailed, WRONG_CREDENTIALS),
    (UnsupportedSaslMechanismError, WRONG_CREDENTIALS),
    (ssl.SSLCertVerificationError, UNTRUSTED_CERTIFICATE),
    (ssl.SSLError, WRONG_PROTOCOL),
    (DENIED, NOT_PERMITTED),
)
#: OpenSSL's names for what a server says of a client's certificate.
OUR_CERTIFICATE: Final = re.compile("ALERT_(.*CERTIFICATE|UNKNOWN_CA)")


class Unfit(Exception):  # noqa: N818 - it names the state of things
    """The topics can't be worked on as they are; the text is one line that says why."""


class Needed(NamedTuple):
    """The group of the workers, the topics they read and write, and how the changelog is made.

    Metrics and what is `beside` them go to the partition of their flows, `others` where their keys say.
    """

    group: str
    source: str
    metrics: str
    beside: tuple[str, ...]
    others: tuple[str, ...]
    changelog: str
    replication: int


async def wait_for(
    *questions: Callable[[], Awaitable[str | None]], stopping: Callable[[], bool], tell: Callable[[str], None]
) -> None:
    """Ask one question after the other until it has no objection; `tell` hears each one, the log now and then."""
    tries, said = 0, ""
    for question in questions:
        while not stopping() and (trouble := await question()):
            tell(trouble)
            if trouble != said or tries % SAY_EVERY == 0:
                log.warning("waiting: %s", trouble)
            tries, said = tries + 1, trouble
            await asyncio.sleep(PAUSE_SECONDS)


async def prepared(connection: dict[str, Any], needed: Needed) -> str | None:
    """What of Kafka and the topics is missing, or None; makes the changelog where it is. Raises Unfit."""
    try:
        return await _ask(connection, needed)
    except (KafkaError, OSError, TimeoutError) as error:
        return await _why(connection, error)


async def lacking(connection: dict[str, Any], needed: Needed) -> str | None:
    """What of the topics is not as needed while workers run; None where all is, or nobody answers.

    aiokafka's own errors name no topic. A changelog that was deleted is made anew: all is counted again from the flows.
    """
    try:
        return await _ask(connection, needed)
    except Unfit as error:
        return str(error)
    except DENIED as error:
        return f"Kafka {NOT_PERMITTED} ({reason(error)})"
    except (KafkaError, OSError, TimeoutError):
        return None


async def expiring(connection: dict[str, Any], needed: Needed) -> str | None:
    """How the changelog is cleaned where Kafka deletes by age or size; None where it does not, or nobody tells."""
    admin = AIOKafkaAdminClient(**connection, request_timeout_ms=5000)
    asked = ConfigResource(ConfigResourceType.TOPIC, needed.changelog, {POLICY: ""})
    try:
        await admin.start()
        [answer] = await admin.describe_configs([asked])
    except (KafkaError, OSError, TimeoutError):
        return None
    finally:
        let_go(admin.close())
    found = [entry[1] for resource in answer.resources for entry in resource[4] if entry[0] == POLICY]
    return next((policy for policy in found if "delete" in policy), None)


async def _ask(connection: dict[str, Any], needed: Needed) -> str | None:
    admin = AIOKafkaAdminClient(**connection, request_timeout_ms=5000)
    try:
        await admin.start()
        return await _check(admin, needed)
    finally:
        let_go(admin.close())


async def _why(connection: dict[str, Any], error: Exception) -> str:
    """One line on why there is no answer. aiokafka only logs it, so the first server is asked once more, alone."""
    servers, context = connection["bootstrap_servers"], connection.get("ssl_context")
    host, _, port = servers[0].rpartition(":")
    address = host.strip("[]"), int(port)
    arguments = {name: value for name, value in connection.items() if name != "bootstrap_servers"}
    try:
        (await create_conn(*address, **arguments, request_timeout_ms=3000)).close()
    except Exception as explained:  # noqa: BLE001 - whatever it is, it explains more
        error = explained
    if isinstance(error, KafkaConnectionError) and context:
        error = await _refused(*address, context) or error
    if line := _refusal(error):
        told = f" ({reason(error)})" if line == NOT_PERMITTED else ""
        return f"Kafka at {','.join(servers)} {line}{told}"
    return f"no answer from Kafka at {','.join(servers)} ({getattr(error, 'strerror', None) or _hint(error)})"


async def _refused(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLError | None:
    """What a server has against our certificate: in TLS 1.3 it says so after the handshake, and aiokafka drops it."""
    try:
        async with asyncio.timeout(REFUSED_WITHIN_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return error
    except (OSError, TimeoutError):
        pass
    return None


def _refusal(error: Exception) -> str | None:
    """What Kafka refuses, as words to follow "Kafka"; None where it is just away."""
    if isinstance(error, ssl.SSLError) and OUR_CERTIFICATE.search(error.reason or ""):
        return REFUSED_CERTIFICATE
    return next((line for kind, line in REFUSALS if isinstance(error, kind)), None)


def _hint(error: Exception) -> str:
    """It hangs up without a word where it expects TLS and gets none; the addresses it names may not be reachable."""
    if isinstance(error, NodeNotReadyError):
        return "the addresses it gives, its advertised.listeners, can't be resolved or reached from here"
    if isinstance(error, TimeoutError):
        return "silence: it hangs, the network is cut, or it expects another KAFKA_SECURITY_PROTOCOL"
    hung_up = isinstance(error, KafkaConnectionError)
    return type(error).__name__ + (": is KAFKA_SECURITY_PROTOCOL right?" if hung_up else "")


async def _check(admin: AIOKafkaAdminClient, needed: Needed) -> str | None:
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    for topic in (needed.source, needed.metrics, *needed.beside, *needed.others):
        if topic not in partitions:
            return f"topic {topic} is missing; `phonon-events topics create` makes it"
    number = partitions[needed.source]
    for topic in (needed.metrics, needed.changelog):
        if partitions.get(topic, number) != number:
            raise Unfit(
                f"{topic} has {partitions[topic]} partitions, {needed.source} has {number}: they must agree; "
                "add none, see 'Another number of partitions' in docs/runbook.md"
            )
    for topic in needed.beside:
        if partitions[topic] < number:
            raise Unfit(f"{topic} has {partitions[topic]} partitions, {needed.source} has {number}: give it as many")
    if needed.changelog not in partitions:
        await _create(admin, needed, number)
    await _ask_for_group(admin, needed.group)
    return None


async def _ask_for_group(admin: AIOKafkaAdminClient, group: str) -> None:
    """Raises GroupAuthorizationFailedError where we may not join: Faust would wait without a word."""
    try:
        await admin.find_coordinator(group)
    except GroupAuthorizationFailedError:
        raise
    except KafkaError:
        pass  # there is none yet; joining waits for one


async def _create(admin: AIOKafkaAdminClient, needed: Needed, partitions: int) -> None:
    for wished in CHANGELOG_CONFIGS:
        config = wished | in_sync_config(needed.replication)
        new = NewTopic(needed.changelog, partitions, needed.replication, topic_configs=config)
        [(_, code, *_)] = (await admin.create_topics([new])).topic_errors
        error = for_code(code)
        if not code or error is TopicAlreadyExistsError:
            return
        if error not in NOT_ITS_SETTINGS or wished is COMPACTED:
            raise error(f"{needed.changelog} could not be made")
