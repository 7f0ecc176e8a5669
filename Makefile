# Thin: every target is one short recipe, and CI calls the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(shell find protos -name '*.proto' | sort)
LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11
STAMP := $(VENV)/.stamp
IMAGES := detect segment background mesh3d render controlplane
IMAGE_LOCK := $(LOCK) --constraint requirements/run.txt --override requirements/images.override
HEAVY := $(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['heavy'], sep='\n')"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev system postgres triton photos photos-all demo up test test-heavy test-containers fuzz check format protos lock images bench sheet clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: system $(STAMP)-run ## all that running needs: system libraries, .venv, models

setup-dev: setup postgres $(STAMP)-dev triton tests/tools/node_modules photos-all .cache/tools .cache/moto/stamp ## all that testing needs on top

system:
	@./scripts/system.sh

postgres:
	@test -x /usr/lib/postgresql/15/bin/initdb || ./scripts/system.sh postgresql-15

triton: $(STAMP)-run ## make Triton's own environment, in the cache; lensora up --triton would as well
	@/sbin/ldconfig -p | grep -q libpython3.11.so.1.0 || \
		test -e "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')/libpython3.11.so.1.0" || \
		./scripts/system.sh libpython3.11
	@$(BIN)/python -c 'from lensora.runtime import tritonserver; tritonserver.install()'

$(STAMP)-run: requirements/run.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/lensora models fetch
	touch $@

$(STAMP)-dev: requirements/dev.txt $(STAMP)-run
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	touch $@

tests/tools/node_modules: tests/tools/package-lock.json
	command -v npm >/dev/null || ./scripts/system.sh nodejs npm
	cd tests/tools && npm ci --no-audit --no-fund --loglevel=error
	touch $@

.cache/tools: scripts/tools.sh $(STAMP)-run
	@./scripts/tools.sh
	touch $@

.cache/moto/stamp: requirements/moto.txt
	@./scripts/apart.sh moto

photos:
	@./scripts/photos.sh

photos-all: $(STAMP)-dev tests/tools/node_modules
	@./scripts/photos.sh all

demo: setup photos ## make the four files from a real photo
	$(BIN)/lensora make .cache/photos/air-balloon.png \
		--background "on a marble countertop with soft natural light" --out out/demo $(ARGS)

up: setup ## run the five services and the gateway until stopped
	$(BIN)/lensora up $(ARGS)

test: setup-dev ## run all the tests
	$(BIN)/python -m pytest $(ARGS)

test-heavy: setup-dev ## run the heavy models' own code in a real Triton; fetches PyTorch at first
	$(BIN)/python -m pytest tests/heavy $(ARGS)

fuzz: setup-dev ## 10,000 hostile cases for every stage; the ordinary tests run the first few
	FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/fuzz $(ARGS)

check: setup-dev ## lint, types, import rules, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	./scripts/checkov.sh
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/released.binpb
	$(MAKE) --silent protos
	git diff --exit-code -- 'lensora/*/v1' controlplane/wire

format: setup-dev ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: ## regenerate the stubs in lensora/*/v1 and controlplane/wire
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I protos \
		--python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I . \
		--python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. controlplane/wire/admin.proto
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I . \
		--python_out=. --mypy_out=quiet:. controlplane/wire/xds.proto

lock: ## resolve requirements/*.txt anew from pyproject.toml
	$(LOCK) --extra all --output-file requirements/run.txt pyproject.toml
	for name in $(IMAGES); do \
		$(IMAGE_LOCK) --extra $$name --output-file requirements/$$name.txt pyproject.toml requirements/images.in || exit 1; done
	$(IMAGE_LOCK) --extra gateway --extra controlplane --extra cli --output-file requirements/gateway.txt pyproject.toml requirements/images.in
	for name in checkov moto; do $(LOCK) --output-file requirements/$$name.txt requirements/$$name.in || exit 1; done
	$(LOCK) --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --no-deps --output-file requirements/triton.txt requirements/triton.in
	@# where pip finds PyTorch's CPU build, uv must be told: UV_FIND_LINKS or UV_INDEX
	$(HEAVY) | $(LOCK) --constraint requirements/triton.in --no-emit-package numpy --output-file requirements/heavy.txt -

images: setup ## build the seven images, with docker, podman or buildah; see scripts/images.sh
	./scripts/images.sh $(ARGS)

test-containers: setup-dev images ## run the images as a system: needs root, podman, and ten minutes
	$(BIN)/python -m pytest -m containers tests/containers

bench: setup-dev ## measure the whole path: python -m bench.e2e
	$(BIN)/python -m bench.e2e --json $(ARGS)

sheet: setup-dev ## draw what becomes of every photo, in out/sheet: python -m bench.sheet
	$(BIN)/python -m bench.sheet $(ARGS)

clean: ## remove what setup and the tools made here; fetched models stay
	rm -rf $(VENV) tests/tools/node_modules out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
