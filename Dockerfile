# docker build -t genimage-stream . && docker run --rm -v /data:/data genimage-stream shard-tools info /data/shards
# For training, install the package into an image that has your PyTorch instead: pip install genimage-stream
FROM python:3.13-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libjpeg-dev libdeflate-dev libwebp-dev zlib1g-dev
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /src

FROM python:3.13-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libjpeg62-turbo libdeflate0 libwebp7 libwebpdemux2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheel /wheel
# hadolint ignore=DL3013
RUN pip install --no-cache-dir /wheel/*.whl && rm -r /wheel && useradd --create-home --uid 1000 user
USER 1000
WORKDIR /data
CMD ["genimage-stream", "doctor"]
