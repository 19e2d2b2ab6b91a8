#!/bin/sh
# install.sh PYTHON ARGUMENT...: pip install into the environment of PYTHON, by uv where it has no pip.
set -eu
python=$1
shift
if "$python" -m pip --version >/dev/null 2>&1; then
    exec "$python" -m pip install --quiet --disable-pip-version-check "$@"
fi
exec uv pip install --quiet --python "$python" "$@"
