#!/bin/sh
# Say of a job of Grid Engine what Snakemake asks: running, success or failed. The accounting learns of an end a little
# late; until then, and where nothing answers, it is asked again.
if qstat -j "$1" > /dev/null 2>&1; then
  echo running
elif told=$(qacct -j "$1" 2> /dev/null); then
  echo "$told" | awk '$1 == "failed" || $1 == "exit_status" { bad = bad || $2 } END { print bad ? "failed" : "success" }'
else
  echo running
fi
