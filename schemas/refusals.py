"""What Kafka refuses, in the words of all our programs: each follows "Kafka", and names what to look at. Pure."""

from typing import Final

WRONG_CREDENTIALS: Final = "refuses KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM"
UNTRUSTED_CERTIFICATE: Final = "shows a certificate that KAFKA_SSL_CA_LOCATION does not vouch for"
WRONG_PROTOCOL: Final = "expects another KAFKA_SECURITY_PROTOCOL"
NOT_PERMITTED: Final = "does not permit its user all that is needed: docs/access.md lists the ACLs"
WRONG_TIME: Final = "refuses records with the time of this machine, whose clock is ahead"
