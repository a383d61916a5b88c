# `make` lists what there is to do. What is needed is made on the way: .venv, and Debian packages for the tests.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
BUILDER ?= $(notdir $(firstword $(shell command -v podman docker buildah)))
CACHES := .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: help run test check lint covered coverage test-unit test-coordination test-store test-servers test-processes test-browser test-packages test-containers hostile test-release campaign outages bench findings audit reference screenshots docs dist deb rpm image lock clean

help:  ## This list
	@sed -n 's/^\([a-z -]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: .venv/made  ## Bring the engine up, run a demo of a hundred jobs, and stay up (ARGS: options of `geventjob up`)
	@exec .venv/bin/geventjob up --demo $(ARGS)

test: .venv/made  ## Run all checks and tests, side by side
	@tools/prepare tests
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target \
	    test-processes test-coordination test-servers test-unit test-store test-packages test-browser lint

check: lint covered  ## Lint, formatting, types, spelling and English; then the branch coverage that was measured last

lint: .venv/made
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && \
	    .venv/bin/codespell $$(git ls-files) && $(PY) tools/docstrings.py --check

covered: .venv/made
	@if [ -e .coverage ]; then echo "Branch coverage, measured $$(date -r .coverage '+%F %H:%M'): the ten lowest modules, and all" && \
	    .venv/bin/coverage report | sed -n '3,12p; /^TOTAL/p'; else echo 'Branch coverage: not measured yet, see make coverage'; fi

coverage: .venv/made  ## Measure the branch coverage of unit tests and contracts, and show each module that is not whole
	@.venv/bin/coverage erase
	@.venv/bin/coverage run -m tests -q tests/unit
	@.venv/bin/coverage run -m tests -q tests/contract
	@.venv/bin/coverage combine --quiet && .venv/bin/coverage report

test-unit: .venv/made  ## Unit tests, in one process that gevent has patched
	@$(PY) -m tests tests/unit

test-coordination: .venv/made  ## The contract of coordination, over SQLite and ZooKeeper
	@$(PY) -m tests tests/contract/coordination tests/contract/zookeeper

test-store: .venv/made  ## The contract of the store, over SQLite and Elasticsearch
	@$(PY) -m tests tests/contract/store tests/contract/elasticsearch

test-servers: .venv/made  ## Servers over both stores and both coordinations: the gate, rights, events, the reconciler
	@$(PY) -m tests tests/contract/test_*.py

test-processes: .venv/made  ## Integration and fault tests, over real processes
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 20 tests/fault tests/integration

outages: .venv/made  ## The tests of outages with five minutes for each of the four outages
	@tools/prepare tests
	@GEVENTJOB_OUTAGE_SECONDS=300 $(PY) -m pytest -s tests/fault/test_outages.py

test-browser: .venv/made  ## The page in the browser, with Debian's chromium
	@$(PY) -m pytest tests/browser

test-packages: .venv/made  ## The packages, on a machine with a real systemd (where root may boot one; else skipped)
	@$(PY) -m pytest -rs tests/packages

test-containers: .venv/made  ## The image and compose.yaml, with buildah and runc (as root; else nothing)
	@tools/prepare containers
	@$(PY) -m pytest tests/containers

hostile: .venv/made  ## Send many wrong, odd and huge requests to a server (EXAMPLES: of each kind; the tests send one)
	@HOSTILE_EXAMPLES=$(or $(EXAMPLES),100) $(PY) -m pytest tests/integration/test_hostile_input.py

test-release: .venv/made  ## The wheel and the source distribution in new environments, also by pipx (needs a package index)
	@$(PY) -m pytest tests/release

campaign: .venv/made  ## Run the whole system under faults, and check that nothing is lost (SEED, SECONDS, STORE=elasticsearch)
	@tools/prepare tests
	@$(PY) -m tests.campaign $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(STORE),--store $(STORE))

bench: .venv/made  ## Measure on this machine, as tables (AGAINST: folder of another checkout; PEERS=1: beside other engines)
	@tools/prepare bench
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@mkdir -p build
ifdef PEERS
	@$(PY) -m bench.peers --json build/peers.json
else
	@$(PY) -m bench.performance --json build/performance.json $(if $(AGAINST),--against $(AGAINST))
	@for module in engine gate 'gate --zookeeper' flow 'flow --zookeeper' 'engine --zookeeper --depths 1000,20000,100000' 'engine --elasticsearch' zookeeper predecessor store schedules coroutines isolation \
	    'zookeeper --costs build/costs.json' 'simulate --costs build/costs.json --executors 10 --slots 200 --entries 20000 --seconds 2 --json build/simulation.json'; do \
	    echo "bench.$$module" && $(PY) -m bench.$$module || exit; done
endif

bench-steady: .venv/made  ## An hour of steady load at half of the rate (MINUTES), with build/steady.json
	@mkdir -p build
	@$(PY) -m bench.steady --minutes $(or $(MINUTES),60) --json build/steady.json

findings:  ## Run the scripts that show surprises in other software (needs a network)
	@for script in findings/*.sh; do echo "$$script" && bash $$script || exit; done

audit: .venv/made  ## Look for known vulnerabilities in the dependencies
	@$(PY) tools/audit.py

reference: .venv/made  ## Write the pages and ini files that come from the code
	@$(PY) -m geventjob.config.reference && $(PY) -m geventjob.job.reference && $(PY) -m tools.draw_lifecycle

screenshots: .venv/made  ## Make the pictures of the page in docs/images, with Debian's chromium
	@tools/prepare tests
	@unshare --user --map-root-user --uts sh -c 'hostname jobs && exec $(PY) -m tools.screenshots'  # a host of no name

docs: .venv/made  ## Build the pages into HTML in build/docs, which opens from disk, and check their links
	@$(PY) -c 'import furo, myst_parser' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@rm -rf build/docs && $(PY) -m sphinx -W --keep-going -q -d build/doctrees docs build/docs && echo build/docs/index.html

dist: .venv/made  ## Build wheel, source distribution and bill of materials into dist/ (REPOSITORY: its address, for links)
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	@GEVENTJOB_REPOSITORY=$(REPOSITORY) package/wheel dist
	@.venv/bin/twine check --strict dist/*.whl dist/*.tar.gz
	@$(PY) -W ignore -m cyclonedx_py requirements --output-reproducible --mc-type application --pyproject pyproject.toml \
	    --output-file dist/geventjob.cdx.json package/requirements.lock

deb rpm: .venv/made  ## Build the Debian package or the RPM into dist/ (see docs/packages.md)
	@tools/prepare $@
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[package]'
	@package/build $@

image: .venv/made  ## Build the container image localhost/geventjob (BUILDER: podman, docker or buildah; see docs/containers.md)
	@rm -rf build/image && package/wheel build/image
	@$(BUILDER) build --file Containerfile --tag localhost/geventjob $(ARGS) .

lock: .venv/made  ## Pin the versions and hashes of what the packages hold, in package/requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[package]'
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header \
	    --no-annotate --upgrade --output-file package/requirements.lock pyproject.toml

clean:  ## Remove what was made here, .venv too
	rm -rf .venv build dist *.egg-info $(CACHES)
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/made: pyproject.toml setup.py tools/prepare
	@echo 'making .venv with all dependencies: this takes a minute or more'
	@tools/prepare venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
