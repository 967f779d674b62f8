"""Alerts to the outside: each record of the alerts topic, POSTed to every address as a Standard Webhooks message.

At least once: a record's offset is committed when every address has answered 2xx or was given up, so a killed process
loses nothing; what comes twice has the same webhook-id. It is no part of the way to a figure or an alert: when it is
down, or an address is, only telling is late.

Kafka -> source (a thread) -> notification (pure) -> address: lane (pure), HTTP -> progress (pure) -> committed
"""
