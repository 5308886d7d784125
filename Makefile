# Everything a laptop user runs. Each target sets the environment up first if that has not been done.
#   make reproduce   the whole study in miniature, then where to look
#   make test        lint, unit tests and an end-to-end run
#   make fuzz        12,000 damaged annotation files and configurations; ten minutes of two cores at most
#   make test-slurm  the study on a real Slurm of one node, disturbed as clusters do; needs root and Debian
#   make test-kill   trainings killed at random moments of their life; about five minutes of one core
#   make test-pages  the report in a real browser, the tables in LaTeX; installs both on Debian
#   make test-container  the container recipe, step by step, in an empty Ubuntu; needs root and Debian
#   make gpu-pack    fill build/gpu-pack with all that a bare machine with a GPU needs for the next; needs nvcc
#   make test-gpu    what only a GPU can show, in a quarter of an hour at most: results/gpu/gpu.md; see docs/gpu.md
#   make bench       the benchmarks behind docs/performance.md
#   make docs        the documentation as a site: build/site/index.html
# CORES sets how many cores to use (default: all), EXPERIMENT which experiment `reproduce` runs.
# CUDA=1 makes `.venv` one for NVIDIA GPUs: docs/cluster.md, step 1.

SHELL := /bin/bash
CORES ?= $(shell nproc 2>/dev/null || echo 2)
EXPERIMENT ?= micro
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The first interpreter that runs and is new enough; a version manager may list one that it cannot start. For GPUs mmcv
# is prebuilt for 3.12.
FIND_PYTHON = for python in $(PYTHON) $(if $(filter 1,$(CUDA)),python3.12) python3 python3.12 python3.11; do \
	  $$python -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 13))' 2>/dev/null \
	    && { echo $$python; exit; }; done

# The code paths of a processor without AVX-512, on any processor (docs/processors.md); the tests that train or predict.
AVX2 = ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
TRAINING_TESTS = tests/inference $(patsubst %,tests/training/test_%.py,ranks resume run)

.PHONY: help setup reproduce test fuzz test-slurm test-kill test-pages test-container test-gpu gpu-pack lint bench docs clean

help:
	@sed -n 's/^# \{0,3\}//p' Makefile | head -14

setup:
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 (from 3.11.5 on) or 3.12 is needed and was not found; install one or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	"$$python" tools/setup.py

reproduce: setup
	@iou-aware runs configs/experiments/$(EXPERIMENT).yaml > /dev/null  # says in a line what Snakemake says in twenty
	snakemake --profile workstation --cores $(CORES) --configfile configs/experiments/$(EXPERIMENT).yaml
	@iou-aware times configs/experiments/$(EXPERIMENT).yaml

lint: setup
	ruff check .
	ruff format --check .
	lint-imports --no-cache --no-logo
	snakefmt --check Snakefile workflow
	snakemake --lint
	@python tools/budget.py

test: lint
	pytest -n $(CORES) -m "not e2e"
	pytest -m e2e
	$(AVX2) pytest -n $(CORES) $(TRAINING_TESTS)
	$(AVX2) pytest -m e2e

fuzz: setup
	FUZZ=12000 pytest -n $(CORES) tests/fuzz

test-slurm: setup
	pytest -s --durations=0 tests/slurm/test_slurm.py

test-kill: setup
	pytest -s tests/kill/test_kill.py

test-pages: setup
	pip install --quiet --constraint requirements.lock --requirement tests/pages/requirements.txt
	pytest tests/pages

test-container: setup
	pytest tests/container

# Only this Python will do, which a version manager may hide.
gpu-pack:
	@for python in $(PYTHON) python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python3); do \
	  $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && exec $$python tools/gpu/pack.py; \
	done; echo "Python 3.12 is needed and was not found; name it: make gpu-pack PYTHON=/path/to/python3.12" >&2; exit 1

# No set-up before: the machine with the GPU has an environment, and the pack brings what that lacks.
test-gpu:
	$(or $(PYTHON),python3) $(or $(wildcard build/gpu-pack),.)/tools/gpu/run.py results/gpu

# In an environment of its own: the site is built by nothing that the project runs with. A broken link ends it.
docs: setup
	@test -x build/docs-venv/bin/mkdocs || python -m venv build/docs-venv
	@build/docs-venv/bin/pip install --quiet --requirement docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build --quiet
	@echo build/site/index.html

bench: setup
	python -m benchmarks

clean:
	rm -rf .venv .snakemake
