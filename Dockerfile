# Two images from one file: `service` (API, relay, migrations, Flower) has no torch, `worker` has.
FROM python:3.11-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chai \
    && install -d -o chai -g chai /storage /models
WORKDIR /srv

FROM base AS service
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt '/src[api,flower]'
USER chai
ENTRYPOINT ["chai"]

FROM base AS worker
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY . /src
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c /src/constraints.txt \
    "$(grep '^torch==' /src/constraints.txt)" '/src[worker]'
USER chai
ENTRYPOINT ["chai"]
