# The environment of `make setup CUDA=1` as an image, for clusters that allow containers and nothing else. docs/cluster.md,
# step 1, says how to build it, how to make an Apptainer image of it, and what the arguments are for.
#
# It holds the packages. The code comes from the clone that a command runs in (PYTHONPATH), and is in here for commands
# that run elsewhere.

# What compiles mmcv, and what remains: two systems with the same Python. PyTorch brings the CUDA that programs run on.
ARG BUILD_BASE=nvidia/cuda:12.9.1-devel-ubuntu24.04
ARG BASE=ubuntu:24.04

FROM ${BUILD_BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates g++ make python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/iou-aware
COPY Makefile pyproject.toml requirements.lock environment.yml README.md LICENSE ./
COPY tools tools
COPY src src
ARG CUDA=1
ARG ARCHS="8.0 9.0"
RUN make setup CUDA="${CUDA}" ARCHS="${ARCHS}" && rm -rf .venv/wheels

FROM ${BASE}
# git says which commit a result is of; the compiler is for torch.compile, which compiles while it runs.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates g++ git python3-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/iou-aware /opt/iou-aware
ENV PATH=/opt/iou-aware/.venv/bin:$PATH PYTHONPATH=src PYTHONNOUSERSITE=1
