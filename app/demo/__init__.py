"""Everything at once on one machine: a broker of its own, a synthetic provider, and the program that shows both.

Nothing of the receiver imports this package: it is for the first five minutes, the tests and the benchmarks.
"""
