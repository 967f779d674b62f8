# Needs Python 3.11 or newer and make; Java 17 and Maven for a real Kafka (without them the demo falls back to a mock).
# Everything lands in .venv, from requirements.lock with its hashes; Kafka's jars in ~/.cache/phonon-events.

PYTHON ?= python3
PROCESSES ?= 3
UV := .venv/bin/uv pip
TO := --quiet --python .venv/bin/python
# What is imported is compiled once: tests start hundreds of processes, and each would take two seconds more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint docs bench profile soak lock clean
run: .venv/ready
	@exec .venv/bin/phonon-events demo

test: lint
	.venv/bin/python -m pytest -m alone
	.venv/bin/python -m pytest -m "not alone" --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 10

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

docs: .venv/ready
	.venv/bin/python -m deploy.documents

bench: .venv/ready
	.venv/bin/python -m benchmarks

profile: .venv/ready
	.venv/bin/python -m benchmarks.profile

soak: .venv/ready
	.venv/bin/python -m tests.soak

lock: .venv/ready
	$(UV) compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --universal --python-version 3.11 -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(UV) sync $(TO) --require-hashes requirements.lock
	$(UV) install $(TO) --no-deps --build-constraints requirements.lock --editable .
	@touch $@
