# make, or make help, lists the targets.
SHELL := /bin/sh
PYTHON_BIN := .venv/bin/python
CXX_SOURCES = $$(git ls-files --cached --others --exclude-standard '*.cpp' '*.hpp' '*.cu')
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-hosts test-arm lint format bench bench-full bench-check docs wheels test-wheel lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## make .venv, install what is missing and build the extension; PYTHON=python3.12 chooses the interpreter
	@scripts/setup.sh

demo: setup ## the main job on photographs: scan, pack, verify, train a detector, two pages, compare the speed
	@$(PYTHON_BIN) -m demo

test: ## run the tests, two at a time; ARGS="tests/test_readme.py -k loop" chooses some
	@scripts/setup.sh --tests
	@$(PYTHON_BIN) -m compileall -q -j 0 genimage_stream shard_tools stand_ins benchmarks experiments demo tests
	@$(PYTHON_BIN) -m pytest -n 2 --dist loadgroup $(ARGS)

test-hosts: ## training on several hosts, as network namespaces of this machine: needs root, takes minutes
	@scripts/setup.sh --tests
	@GENIMAGE_STREAM_HOSTS=1 $(PYTHON_BIN) -m pytest -ra tests/hosts $(ARGS)

test-arm: ## the C++ core for AArch64 under qemu, against this machine; ARGS=--count counts instructions with NEON and without
	@scripts/test_arm.sh $(ARGS)

lint: setup ## ruff, mypy, clang-format and the list of words, changing nothing
	@$(PYTHON_BIN) -m mypy & types=$$!; failed=0; \
	$(PYTHON_BIN) -m ruff check || failed=1; \
	$(PYTHON_BIN) -m ruff format --check || failed=1; \
	.venv/bin/clang-format --dry-run -Werror $(CXX_SOURCES) || failed=1; \
	$(PYTHON_BIN) scripts/words.py || failed=1; \
	wait $$types || failed=1; exit $$failed

format: setup ## let ruff and clang-format rewrite the sources
	@$(PYTHON_BIN) -m ruff check --fix
	@$(PYTHON_BIN) -m ruff format
	@.venv/bin/clang-format -i $(CXX_SOURCES)

bench: ## throughput beside other loaders, under 10 minutes once their environments are there; ARGS="--transform cnnspot" of a transform
	@scripts/setup.sh --bench
	@$(PYTHON_BIN) -m benchmarks.end_to_end $(ARGS)

bench-full: ## every benchmark, about an hour on 2 cores; ARGS="--record mix streams" chooses parts and keeps the results
	@scripts/setup.sh --bench
	@$(PYTHON_BIN) -m benchmarks.full $(ARGS)

docs: setup ## build the manual into site/ and check its links; ARGS=--quick keeps its samples, ARGS="--look DIR" takes screenshots
	@$(PYTHON_BIN) -m manual $(ARGS)

wheels: ## make wheels for x86-64 and AArch64 and the sdist in dist/; ARGS="--arch x86_64 --python 3.11" makes one
	@$(or $(PYTHON),python3) scripts/wheels $(ARGS)

test-wheel: ## test the wheel in dist/ that is for PYTHON, away from the checkout; ARGS="numpy==1.24.4" fixes versions
	@scripts/test_wheel.sh $(or $(PYTHON),python3) dist $(ARGS)

bench-check: setup ## count instructions of fixed work by valgrind, compare with benchmarks/instructions.json; ARGS=--record renews it
	@$(PYTHON_BIN) -m benchmarks.instructions $(ARGS)

lock: setup ## resolve requirements/*.lock again from pyproject.toml, by uv; ARGS=--upgrade takes the newest versions
	@$(PYTHON_BIN) -m pip install --quiet uv
	@$(PYTHON_BIN) -m uv pip compile --quiet pyproject.toml --extra torch --extra dev -o requirements/dev.lock $(ARGS)
	@$(PYTHON_BIN) -m uv pip compile --quiet pyproject.toml --extra torch --extra tests -c requirements/dev.lock -o requirements/tests.lock $(ARGS)
	@$(PYTHON_BIN) -m uv pip compile --quiet --group docs -o requirements/docs.lock $(ARGS)

clean: ## remove everything that was made: .venv, builds, the demo's and the benchmarks' data
	rm -rf .venv .demo .bench .manual site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f genimage_stream/decode/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
