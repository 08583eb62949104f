PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= demo-data

.PHONY: demo test test-slow ui lint bench torture clean

demo: $(VENV)/installed  ## the whole pipeline on the bundled pages, really crawled
	$(BIN)/python -m quarry_dagster.demo --data $(DATA)

# dagster dev -w workspace.yaml, and the demo's pages, that they can be crawled again.
ui: $(VENV)/installed  ## the Dagster UI over the demo's data, on http://127.0.0.1:3000
	$(BIN)/python -m quarry_dagster.demo ui --data $(DATA)

# Three at a time on two cores, for some wait for a daemon; a module's tests mostly stay together, for they share a corpus.
test: $(VENV)/installed-dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -rs -n 3 --dist worksteal -m 'not slow'

# A file's tests in one process, for those of the UI share a `dagster dev`.
test-slow: $(VENV)/installed-dev  ## tests with a second server, a daemon, browsers or many commands
	$(BIN)/python -m pytest -rs -n 3 --dist loadfile -m slow

lint: $(VENV)/installed-dev  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed-dev  ## deduplication beside its peers: make bench [LABELLED=file-or-folder] [PEERS=their-python]
	$(BIN)/python -m benchmarks.dedup $(LABELLED) $(if $(PEERS),--peers-python $(PEERS))

torture: $(VENV)/installed-dev  ## kills, failing disks, many writers, hostile and large input: hours; ATTACK=small for minutes
	$(BIN)/python -m benchmarks.torture $(ATTACK)

clean:  ## forget the environment and the demo's data
	rm -rf $(VENV) $(DATA)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "QuarryCore needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
