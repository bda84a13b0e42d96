# Two images from one file: `service` (API, relay, migrations, Flower) has no torch, `worker` has.
#
# Packages come from wherever the builder's pip is told to look; no index is named here. PIP_INDEX_URL and
# PIP_EXTRA_INDEX_URL are read by pip itself. TORCH_INDEX is one more index for the worker alone, for another build of
# torch than the first index has; docs/operation.md says when that is wanted.
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chai \
    && install -d -o chai -g chai -m 0700 /storage \
    && install -d -o chai -g chai /models
WORKDIR /srv

FROM base AS service
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt '/src[api,flower]'
USER chai
ENTRYPOINT ["chai"]

FROM base AS worker
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG TORCH_INDEX
# Blocks are compiled on the machine that runs them.
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev && rm -rf /var/lib/apt/lists/* \
    && install -d -o chai -g chai /compiled
ENV TORCHINDUCTOR_CACHE_DIR=/compiled/inductor TRITON_CACHE_DIR=/compiled/triton
COPY . /src
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c /src/constraints.txt \
    "$(grep '^torch==' /src/constraints.txt)" '/src[worker]'
USER chai
ENTRYPOINT ["chai"]
