"""The tests: one module a module, plus the end-to-end and fault tests on a real Kafka."""
