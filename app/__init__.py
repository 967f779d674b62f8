"""The receiver: a delivery over HTTP in, its events on Kafka out, acknowledged or safe on disk before the answer."""
