# make demo    set up and run the main job: MAML on hand-drawn glyphs, three minutes on two cores
# make test    set up with the development tools, then ruff, mypy, import-linter and pytest
#
# An activated environment is used where there is one, else .venv is made here. Both can be run again at any time.

PYTHON3 ?= python3
CONDA   := $(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX))
ENV     := $(or $(VIRTUAL_ENV),$(CONDA),.venv)
BIN     := $(ENV)/bin
PYTHON  := $(BIN)/python
READY   := $(ENV)/.metaexp-ready
DEV     := $(ENV)/.metaexp-dev
L2L     := $(ENV)/.metaexp-learn2learn
PINS    := setup.cfg pyproject.toml constraints.txt
# pip where the environment has it, uv where it has not (as in those that uv makes).
INSTALL := scripts/install.sh $(PYTHON)

.PHONY: demo test lint types imports unit learn2learn clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/metaexp train $(ARGS)

test: $(DEV) lint types imports unit

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports

# learn2learn is a second opinion for some tests; they are skipped, and say so, where it cannot be built.
unit: $(DEV)
	@$(MAKE) --no-print-directory learn2learn || echo "learn2learn could not be installed; its tests will be skipped"
	$(PYTHON) -m pytest -n auto --dist worksteal $(ARGS)

learn2learn: $(L2L)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): $(PINS) | $(PYTHON)
	@echo "installing metaexp into $(ENV), which takes a minute or two"
	$(INSTALL) -c constraints.txt -e .
	touch $@

$(DEV): $(PINS) | $(PYTHON)
	@echo "installing metaexp and its development tools into $(ENV), which takes a minute or two"
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $(READY) $@

# Its C files are generated anew, for those it ships do not compile on today's Python. It declares dependencies that
# it does not need here (one would downgrade numpy), so these few are named.
$(L2L): constraints.txt | $(DEV)
	$(INSTALL) -c constraints.txt 'cython<3' setuptools wheel scipy requests tqdm gym
	$(INSTALL) -c constraints.txt --no-deps torchvision
	CYTHON_FORCE_REGEN=1 $(INSTALL) -c constraints.txt --no-build-isolation --no-deps \
		--config-settings=--global-option=build_ext learn2learn
	touch $@

$(PYTHON):
	$(PYTHON3) -c 'import sys; sys.exit("metaexp needs Python 3.11 or newer; choose one with PYTHON3=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON3) -m venv $(ENV) || uv venv --python $(PYTHON3) $(ENV)
