# make demo         set up and run the main job: MAML on made-up characters, about a minute on two cores
# make test         set up with the development tools, then all checks and the tests; COVERAGE=yes adds `make coverage`;
#                   EXHAUSTIVE=yes adds the longest tests, and every case of large sets where a sample is tested
# make lint         ruff: rules and format
# make types        mypy with the pinned torch: the package strictly, and in tests and benchmarks that every name exists
# make imports      import-linter: which room may import which
# make unit         the tests alone; ARGS="tests/run -k resume" picks some
# make coverage     the tests with branch coverage, which must be 90 % in the rooms that decide numbers
# make busy         the tests beside four busy processes: none may depend on speed
# make docs         the documentation as a site in site/, every link checked
# make notebooks    run the notebooks of examples again, and write what they show into them
# make bench        the speed of a training step of each learner against plain torch, as a table
# make learn2learn  build learn2learn, which some tests compare with
# make clean        remove .venv and what the tools left
#
# An activated environment is used if there is one; otherwise .venv is made here. All can be run again at any time.
# PYTHON3=python3.13 makes .venv with another Python. TORCH=2.10.* or TORCH=newest takes another torch than the pinned one.

PYTHON3 ?= python3
CONDA   := $(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX))
ENV     := $(or $(VIRTUAL_ENV),$(CONDA),.venv)
BIN     := $(ENV)/bin
PYTHON  := $(BIN)/python
READY   := $(ENV)/.metaexp-ready
DEV     := $(ENV)/.metaexp-dev
L2L     := $(ENV)/.metaexp-learn2learn
PINS    := setup.py setup.cfg pyproject.toml constraints.txt
TORCH   ?= pinned
INSTALL := TORCH='$(TORCH)' scripts/install.sh $(PYTHON)

.PHONY: demo test lint types imports docs unit coverage busy bench notebooks learn2learn second-opinion rewritten-tests clean help
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/metaexp train $(ARGS)

# Three at once, the longest first; installing learn2learn waits for the disk as much as it computes.
test: $(DEV)
	@$(MAKE) --no-print-directory -j3 types second-opinion rewritten-tests docs lint imports
	@$(MAKE) --no-print-directory unit TRIED=yes

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Annotations of torch differ between its versions.
types: $(DEV)
ifeq ($(TORCH),pinned)
	$(BIN)/mypy
else
	@echo "types are checked with the pinned torch only"
endif

imports: $(DEV)
	$(BIN)/lint-imports

docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict
	@echo "documentation: site/index.html"

# TRIED: `make test` has tried to install learn2learn already.
unit: $(DEV) $(if $(TRIED),,second-opinion)
	$(if $(COVERAGE),scripts/coverage.sh $(PYTHON) --all,$(PYTHON) -m pytest -n auto --dist worksteal $(ARGS))

# pytest rewrites assertions in each file once. Three processes that begin at the same time would each do it.
rewritten-tests: $(DEV)
	$(PYTHON) -m pytest --collect-only --quiet >/dev/null

# Outside `unit`: counting branches makes the tests slower. COVERAGE=yes counts them in `unit`, where that is needed.
coverage: $(DEV)
	scripts/coverage.sh $(PYTHON)

busy: $(DEV)
	EXHAUSTIVE=yes scripts/busy.sh $(PYTHON) -m pytest -n auto --dist worksteal $(ARGS)

bench: $(DEV)
	$(PYTHON) benchmarks/learners.py $(ARGS)

# Nothing else in development needs Jupyter's kernel, so it is installed here.
notebooks: $(DEV)
	$(INSTALL) nbclient ipykernel
	$(PYTHON) scripts/notebooks.py $(ARGS)

learn2learn: $(L2L)

# learn2learn is a second opinion for some tests; they are skipped, and say so, where it cannot be built.
second-opinion: $(DEV)
	@$(MAKE) --no-print-directory learn2learn || echo "learn2learn could not be installed; its tests will be skipped"

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

clean:
	rm -rf .venv build dist *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(READY): $(PINS) | $(PYTHON)
	@echo "installing metaexp into $(ENV), which takes a while"
	$(INSTALL) -e '.[search]'
	touch $@

$(DEV): $(PINS) | $(PYTHON)
	@echo "installing metaexp and its development tools into $(ENV), which takes a while"
	$(INSTALL) -e '.[dev]'
	touch $(READY) $@

# Its C files are generated again, because those it ships do not compile on today's Python. It declares dependencies that
# it does not need here (one would downgrade numpy), so these few are named.
$(L2L): constraints.txt | $(DEV)
	$(INSTALL) 'cython>=3.1' setuptools wheel scipy requests tqdm gym
	$(INSTALL) --no-deps torchvision
	CYTHON_FORCE_REGEN=1 $(INSTALL) --no-build-isolation --no-deps \
		--config-settings=--global-option=build_ext learn2learn
	touch $@

$(PYTHON):
	@$(PYTHON3) -c 'import sys; sys.exit("metaexp needs Python 3.11 or newer; choose one with PYTHON3=...") if sys.version_info < (3, 11) else 0'
	scripts/environment.sh $(PYTHON3) $(ENV)
