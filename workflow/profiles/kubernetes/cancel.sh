#!/bin/sh
exec kubectl delete --wait=false "$@"
