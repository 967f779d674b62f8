"""The live page: the last figures of every DID and its alerts, from their topics to a browser, as they change.

It reads and shows; it writes to no topic and commits no offset, so any number of pages may be open. No figure depends
on it: when it is down, nothing else is. Only app/cli.py and the demo start it.

Kafka -> source (a thread) -> state (pure) -> messages (pure) -> stream (server-sent events) -> static/ (the page)
"""
