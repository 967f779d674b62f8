"""What the workers count of a decoded flow record, read from its bytes: there is no other way."""

from schemas import encode
from streams import flows
from streams.windows import Flow
from tests.flow_oracle import Record


def counted(record: Record) -> Flow:
    """The flow; `timestamp`, Kafka's, is when it happened."""
    return flows.read(encode("Flow", record), timestamp=record["occurred_at"])
