# Everything that runs on Ray: the search service and the jobs (ray_jobs/).
#   docker build -f docker/search.Dockerfile -t scot/search:0.1.0 .
FROM python:3.11-slim-bookworm

# wget: KubeRay's probes ask Ray's health pages with it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home scot

ENV PATH=/opt/scot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The locked requirements are a layer of their own: a change of SCOT's code costs megabytes, not gigabytes. Compiled
# here, since the user that runs them may not write beside them. Without the packages' own tests and what only compilers
# of C++ and Java need, it is 0.25 GB smaller.
# --build-arg TORCH_INDEX=URL takes another build of PyTorch (docs/install.md).
ARG TORCH_INDEX=
COPY requirements/search.txt requirements/sync /tmp/requirements/
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --root-user-action=ignore --target /tmp/uv uv \
 && export UV_LINK_MODE=copy \
 && /tmp/uv/bin/uv venv --quiet /opt/scot \
 && /tmp/requirements/sync /tmp/uv/bin/uv /opt/scot/bin/python /tmp/requirements/search.txt --quiet --compile-bytecode \
 && find /opt/scot/lib -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
 && rm -r /opt/scot/lib/python3.11/site-packages/torch/include /opt/scot/lib/python3.11/site-packages/ray/jars \
 && rm -rf /tmp/uv /tmp/requirements

# `ray job submit -- python ray_jobs/pretrain.py` runs here.
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
LABEL org.opencontainers.image.title="SCOT search and jobs" \
      org.opencontainers.image.description="Composed image search: the Ray Serve application, and the jobs that pretrain it" \
      org.opencontainers.image.licenses="Apache-2.0"
CMD ["scot", "--help"]
