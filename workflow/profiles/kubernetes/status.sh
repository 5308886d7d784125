#!/bin/sh
# Say of a Job of Kubernetes what Snakemake asks: running, success or failed. Where nothing answers, it is asked again.
case $(kubectl get "$1" -o 'jsonpath={.status.succeeded}/{.status.failed}' 2>&1) in
  1/*) echo success ;;
  /1 | *NotFound*) echo failed ;;
  *) echo running ;;
esac
