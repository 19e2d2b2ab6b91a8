#!/bin/sh
# environment.sh PYTHON3 FOLDER: makes a virtual environment with today's pip, which is faster than that of Python 3.11.
# Without a network it has the pip that came with PYTHON3. Where PYTHON3 cannot make one, uv does. What fails is removed,
# since make would take it for an environment.
set -u
python3=$1
folder=$2
had=$(ls -A "$folder" 2>/dev/null)

"$python3" -m venv --upgrade-deps "$folder" && exit
if "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "pip could not be upgraded (is there a network?); $folder has the pip that came with Python" >&2
    exit 0
fi
[ -n "$had" ] || rm -rf "$folder"
if command -v uv >/dev/null; then
    uv venv --python "$python3" "$folder" && exit
    [ -n "$had" ] || rm -rf "$folder"
fi
rm -f "$folder/bin/python"
echo "no environment could be made in $folder; the lines above say why. On Debian and Ubuntu, python3-venv may be missing." >&2
exit 1
