# The edit service, with vLLM's engine on GPUs; without a model (--engine rules) it needs no GPU.
#   docker build -f docker/edits.Dockerfile -t scot/edits:0.1.0 .
FROM python:3.11-slim-bookworm

# gcc: Triton compiles the stubs of its kernels when the engine starts.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home scot

ENV PATH=/opt/scot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# --build-arg TORCH_INDEX=URL takes another build of PyTorch (docs/install.md).
ARG TORCH_INDEX=
COPY requirements/edits.txt requirements/sync /tmp/requirements/
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --root-user-action=ignore --target /tmp/uv uv \
 && export UV_LINK_MODE=copy \
 && /tmp/uv/bin/uv venv --quiet /opt/scot \
 && /tmp/requirements/sync /tmp/uv/bin/uv /opt/scot/bin/python /tmp/requirements/edits.txt --quiet --compile-bytecode \
 && rm -rf /tmp/uv /tmp/requirements

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY scot scot
COPY services services
COPY ray_jobs ray_jobs
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --root-user-action=ignore --target /tmp/uv uv \
 && UV_LINK_MODE=copy /tmp/uv/bin/uv pip install --quiet --no-deps --python /opt/scot/bin/python -e . \
 && rm -rf /tmp/uv \
 && python -m compileall -q scot services ray_jobs

USER 1000
EXPOSE 9100 9101
LABEL org.opencontainers.image.title="SCOT edits" \
      org.opencontainers.image.description="The edit service: captions in, edits and edited captions out" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["scot", "edits", "serve"]
