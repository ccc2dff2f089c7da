# Everything a fresh machine needs is python3 with venv, and make: each target installs first what it uses.
#   make demo       several swaps at once, told and heard without a broker
#   make test       every test but interop and the long faults, and how much of the code they reach; tests/broker.py finds or gets a RabbitMQ
#   make check      style and types
#   make faults     every fault that tests/faults lists, within 40 minutes; `make test` has the quick ones; PLAIN=1: by aio-pika's
#                   own client
#   make soak       a fault every 3 seconds: make soak SECONDS=300
#   make interop    the tests against real peers: nova, oslo.messaging, AsyncAPI's parser, Chromium; and the packages
#   make measure    what emitting costs a swap while the broker is in trouble: figures, no test
#   make bench      aioswap and other clients side by side on a private RabbitMQ, within 30 minutes; the machine should be quiet
#   make scale      several processes of aioswap, and a cluster of three private nodes, within 10 minutes; the machine should be quiet
#   make docs       the pages, into docs/_build/html: warnings are errors
#   make bench-quick  three of its scenarios, within 4 minutes

PYTHON ?= python3
VENV ?= .venv
INTEROP_VENV ?= .venv-interop
BENCH_VENV ?= .venv-bench
DOCS_VENV ?= .venv-docs
EXTRAS = all
PY := $(VENV)/bin/python
INSTALL = $(@D)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]' --constraint constraints.txt

# What is installed outside of these environments stays outside.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: demo test check faults soak interop measure bench bench-quick scale docs

demo: $(VENV)/.installed-cli
	$(VENV)/bin/aioswap demo

test: $(VENV)/.installed-test
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -m 'not interop and not faults'
	$(PY) -m coverage combine --quiet
	$(PY) -m tests.coverage_bars

check: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy aioswap tests examples benchmarks

measure: $(VENV)/.installed-test
	$(PY) -m benchmarks.measure
	$(PY) -m benchmarks.recorded_day

bench: $(BENCH_VENV)/.installed-bench
	$(BENCH_VENV)/bin/python -m benchmarks.bench

bench-quick: $(BENCH_VENV)/.installed-bench
	$(BENCH_VENV)/bin/python -m benchmarks.bench --quick

scale: $(BENCH_VENV)/.installed-bench
	$(BENCH_VENV)/bin/python -m benchmarks.scale

docs: $(DOCS_VENV)/.installed-docs
	$(DOCS_VENV)/bin/python -m sphinx -W --keep-going --nitpicky --fresh-env --doctree-dir docs/_build/doctrees docs docs/_build/html
	$(DOCS_VENV)/bin/python -m docs._ext.built_pages docs/_build/html

SECONDS ?= 300

faults: $(VENV)/.installed-test
	AIOSWAP_FAULTS_PLAIN=$(PLAIN) $(PY) -m pytest tests/faults

soak: $(VENV)/.installed-test
	$(PY) -m tests.faults.soak --seconds $(SECONDS)

# Nova brings 120 packages along: they stay away from what the other targets see.
interop: $(INTEROP_VENV)/.installed-interop
	$(INTEROP_VENV)/bin/python -m pytest tests/interop -m interop

# Stamps: a thing is installed once, and again when one of these files changes.
$(VENV)/.installed-cli: EXTRAS = cli
$(VENV)/.installed-cli: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL)
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --group test
	touch $@

$(VENV)/.installed-lint: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --group lint
	touch $@

$(INTEROP_VENV)/.installed-interop: pyproject.toml constraints.txt | $(INTEROP_VENV)/.created
	$(INSTALL) --group test --group interop
	touch $@

$(BENCH_VENV)/.installed-bench: pyproject.toml constraints.txt | $(BENCH_VENV)/.created
	$(INSTALL) --group bench
	touch $@

$(DOCS_VENV)/.installed-docs: pyproject.toml constraints.txt | $(DOCS_VENV)/.created
	$(INSTALL) --group docs
	touch $@

# The pip that comes with Python 3.11 does not know --group.
$(VENV)/.created $(INTEROP_VENV)/.created $(BENCH_VENV)/.created $(DOCS_VENV)/.created:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@
