"""The metrics: flow records in, live metrics per DID out, each flow counted exactly once, whatever dies.

bytes -> decode -> add to bucket -> roll up -> emit. The README's layout says where each step is.
"""
