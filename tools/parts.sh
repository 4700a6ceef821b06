#!/bin/sh
# Runs tasks of the Makefile one after another, and then prints how long each took. Stops at the first that fails.
# Usage: MAKE=make tools/parts.sh TASK...

times=
status=0
for part; do
	start=$(date +%s)
	"${MAKE:-make}" --no-print-directory "$part" || status=$?
	outcome=$([ "$status" -eq 0 ] || echo '   failed')
	times="$times$(printf '  %-12s %5d s%s' "$part" $(($(date +%s) - start)) "$outcome")
"
	[ "$status" -eq 0 ] || break
done
printf '\nTime of each part:\n%s' "$times"
exit "$status"
