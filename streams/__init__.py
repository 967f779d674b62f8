"""The metrics: flow records in, live metrics per DID out, each flow counted exactly once, whatever dies.

bytes -> decode -> add to bucket -> roll up -> emit. Pure: metrics, bucket, windows, table, offsets, flows, live.
Shells: changelog, partitions, chunks, agents, health, log, app.
"""
