"""Alerts to the outside: each record of the alerts topic, POSTed to every address as a Standard Webhooks message.

At least once: a record's offset is committed when every address has answered 2xx or was given up, so a killed process
loses nothing; what comes twice has the same webhook-id. No figure and no alert depends on it: when it is down, or an
address is, only the telling is late.

Kafka -> source (a thread) -> notification (pure) -> address: lane (pure), HTTP -> progress (pure) -> committed
"""
