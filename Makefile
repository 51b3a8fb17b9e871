# Every target does its own set-up: it needs Python 3.11 or newer, `make`, and the package index.
PYTHON ?= python3
FUZZ ?= -max_total_time=600
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench fuzz lock clean

demo: $(VENV)/.ready  ## The whole loop on real data: register, build, deploy, score, update.
	$(BIN)/python examples/01-digits/main.py

test: check $(VENV)/.ready .wheelhouse/.ready .frameworks/.ready  ## Checks, then every test.
	scripts/debian_packages.sh
	$(BIN)/pytest $(PYTEST)

check: $(VENV)/.ready  ## Formatting, lint, types, import rules.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready .wheelhouse/.ready  ## Every module of bench/; ONLY=registry runs one.
	$(BIN)/python -m bench $(ONLY)

fuzz: .fuzz/.ready  ## Look for requests that break the runtime; FUZZ="-max_total_time=3600" for longer.
	PYTHONPATH=runtime/src:. .fuzz/bin/python -m tests.faults.fuzz.explore $(FUZZ)

lock: $(VENV)/.ready  ## Renew the locked versions in requirements/.
	$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-emit-package modelyard-runtime -o requirements/dev.txt \
		pyproject.toml runtime/pyproject.toml requirements/dev.in
	$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate -c requirements/dev.txt -o requirements/wheelhouse.txt requirements/wheelhouse.in
	$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate -c requirements/dev.txt -o requirements/frameworks.txt requirements/frameworks.in
	$(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate -c requirements/dev.txt -o requirements/fuzz.txt requirements/fuzz.in

clean:
	rm -rf $(VENV) .fuzz .frameworks .wheelhouse .cache .mypy_cache .pytest_cache \
		.ruff_cache .import_linter_cache .hypothesis

$(VENV)/.ready: requirements/dev.txt pyproject.toml runtime/pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -q --require-hashes -r requirements/dev.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e runtime -e .
	touch $@

# Environments of images in tests are built from these wheels, so that tests need no network.
.wheelhouse/.ready: requirements/wheelhouse.txt $(VENV)/.ready
	rm -rf .wheelhouse
	$(BIN)/pip download -q --require-hashes --only-binary :all: -d .wheelhouse \
		-r requirements/wheelhouse.txt
	touch $@

# Of its own: the fuzzer is large, and only there for Linux.
.fuzz/.ready: requirements/fuzz.txt
	$(PYTHON) -m venv --clear .fuzz
	.fuzz/bin/pip install -q --require-hashes -r requirements/fuzz.txt
	touch $@

# Models of PyTorch, Keras and MLflow are tested in an environment of their own, like an image's.
# torch is pinned and has no hash: its builds for CPU and for CUDA have one version, and which of
# them there is depends on the index. Tests want the one for CPU, a tenth of the other's size.
.frameworks/.ready: requirements/frameworks.txt
	$(PYTHON) -m venv --clear .frameworks
	.frameworks/bin/pip install -q --require-hashes -r requirements/frameworks.txt
	.frameworks/bin/pip install -q --no-deps torch==2.13.0
	touch $@
