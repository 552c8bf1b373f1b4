#!/bin/sh
# First process of the container: makes SIGTERM (docker stop, TerminateJob, a draining spot machine) arrive.
#
# A plain command replaces this shell (exec) and gets the signal itself. Metaflow's command is
# `bash -c "... python flow.py step ..."`, and a bash in front neither reacts nor passes it on. Then this
# shell stays, and passes SIGTERM to each process that has a handler for it: the training, which saves a
# checkpoint. The others (Metaflow's log collectors) go on, or the last lines of the step would be lost.
set -eu

if [ "$#" -eq 0 ]; then
    echo "entrypoint: found no command, expected one. Batch passes it; by hand: docker run IMAGE python --version" >&2
    exit 64
fi

case "$1 ${2-}" in
"bash -c" | "sh -c" | "/bin/bash -c" | "/bin/sh -c") ;;
*) exec "$@" ;;
esac

# Process ids that catch SIGTERM: signal 15 is bit 14 of the mask, so the 4 of its fourth hex digit from the right.
catchers() {
    for status in /proc/[0-9]*/status; do
        pid="${status#/proc/}"
        pid="${pid%/status}"
        [ "$pid" != "$$" ] || continue
        mask="$(sed -n 's/^SigCgt:[[:space:]]*[0-9a-f]*\([0-9a-f]\)[0-9a-f]\{3\}$/\1/p' "$status" 2>/dev/null || true)"
        case "$mask" in
        [4567cdef]) echo "$pid" ;;
        esac
    done
}

pass_on() {
    targets="$(catchers)"
    if [ -n "$targets" ]; then
        for pid in $targets; do kill -TERM "$pid" 2>/dev/null || true; done
    else
        kill -TERM "$child" 2>/dev/null || true
    fi
}

trap pass_on TERM
"$@" &
child="$!"

# A trapped signal ends `wait` early, with a status above 128: wait again while the command lives.
code=0
wait "$child" || code="$?"
while kill -0 "$child" 2>/dev/null; do
    code=0
    wait "$child" || code="$?"
done
exit "$code"
