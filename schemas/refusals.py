"""What Kafka refuses, in the words of all our programs: each follows "Kafka", and names what to look at. Pure."""

from typing import Final

WRONG_CREDENTIALS: Final = "refuses KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM"
UNTRUSTED_CERTIFICATE: Final = (
    "shows a certificate that has expired, is for another name, or is not signed by KAFKA_SSL_CA_LOCATION"
)
REFUSED_CERTIFICATE: Final = "refuses our certificate, KAFKA_SSL_CERTIFICATE_LOCATION: missing, expired or unknown"
WRONG_PROTOCOL: Final = "expects another KAFKA_SECURITY_PROTOCOL"
NOT_PERMITTED: Final = "does not permit its user all that is needed: docs/access.md lists the ACLs"
WRONG_TIME: Final = "refuses records with the time of this machine, whose clock is ahead"
