#!/bin/sh
# busy.sh COMMAND...: runs the command beside four processes that keep the processor busy.
set -u
for _ in 1 2 3 4; do
    sh -c 'while kill -0 "$1" 2>/dev/null; do :; done' busy $$ &
done
"$@"
code=$?
kill $(jobs -p) 2>/dev/null
exit $code
