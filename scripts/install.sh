#!/bin/sh
# install.sh PYTHON ARGUMENT...: pip install into the environment of PYTHON, by uv where it has no pip (as in those that
# uv makes). Versions are those of constraints.txt, but for torch where TORCH is given: a version such as 2.10.*, or newest.
# Each torchvision belongs to one torch, so its version is then left open, too.
set -eu
python=$1
shift
versions=$(mktemp)
trap 'rm -f "$versions"' EXIT
case ${TORCH:-pinned} in
    pinned) cat constraints.txt ;;
    newest) sed -E '/^torch(vision)?==/d' constraints.txt ;;
    *) sed "/^torchvision==/d; s/^torch==.*/torch==$TORCH/" constraints.txt ;;
esac >"$versions"

# setuptools warns of every editable installation, in ten lines that ask for nothing.
export PYTHONWARNINGS="${PYTHONWARNINGS:+$PYTHONWARNINGS,}ignore:Editable installation"

if "$python" -m pip --version >/dev/null 2>&1; then
    # Old pips build packages without a pyproject.toml in a way that ignores --config-settings.
    # Python compiles what is imported, which is a quarter of the files. Compiling all takes as long as the rest.
    "$python" -m pip install --quiet --disable-pip-version-check --no-compile --use-pep517 -c "$versions" "$@"
elif ! command -v uv >/dev/null; then
    echo "$python has no pip. If it is that of a .venv that was half made, remove the folder and run make again." >&2
    exit 1
else
    uv pip install --quiet --python "$python" -c "$versions" "$@"
fi
