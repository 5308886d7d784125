#!/bin/sh
# Say of a job of PBS what Snakemake asks: running, success or failed. Where PBS does not answer, it is asked again.
case $(qstat -x -f "$1" 2>&1) in
  *"job_state = F"*"Exit_status = 0"*) echo success ;;
  *"job_state = F"* | *"Unknown Job"*) echo failed ;;
  *) echo running ;;
esac
