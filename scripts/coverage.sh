#!/bin/sh
# coverage.sh PYTHON [--all]: the tests of the rooms that decide numbers, and the share of their branches that was taken.
# Fails below 90 % in any of them. Half as long again as the same tests alone, so that `make unit` goes without.
# --all runs the other tests too, without counting: every test once.
set -eu
python=$1
counted="tests/core tests/algorithms tests/contracts tests/config tests/models/test_networks.py
    tests/results/test_record.py tests/results/test_strange_files.py tests/results/test_checkpoint_values.py
    tests/compare/statistics/test_statistics.py tests/run/test_checkpoint_files.py tests/run/test_meta_step.py
    tests/run/test_build.py tests/sweep/test_options.py"
if [ "${2:-}" = --all ]; then
    export COUNTED="$counted"
    "$python" -m pytest -n auto --dist worksteal --cov=metaexp --cov-report=
else
    "$python" -m pytest -q -n auto --dist worksteal -m 'not slow' --cov=metaexp --cov-report= $counted
fi
"$python" -m coverage json -q -o .coverage.json
"$python" scripts/coverage_gate.py .coverage.json
