#!/bin/sh
# install.sh PYTHON ARGUMENT...: pip install into the environment of PYTHON, by uv where it has no pip.
set -eu
python=$1
shift
if "$python" -m pip --version >/dev/null 2>&1; then
    # Old pips build packages without a pyproject.toml in a way that ignores --config-settings.
    exec "$python" -m pip install --quiet --disable-pip-version-check --use-pep517 "$@"
fi
exec uv pip install --quiet --python "$python" "$@"
