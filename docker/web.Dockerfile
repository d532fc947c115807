# The web service: HTTP and JSON before the search service; without PyTorch, Ray or a model.
#   docker build -f docker/web.Dockerfile -t scot/web:0.1.0 .
FROM python:3.11-slim-bookworm

RUN useradd --uid 1000 --create-home scot

ENV PATH=/opt/scot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

COPY requirements/web.txt requirements/sync /tmp/requirements/
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --root-user-action=ignore --target /tmp/uv uv \
 && export UV_LINK_MODE=copy \
 && /tmp/uv/bin/uv venv --quiet /opt/scot \
 && /tmp/requirements/sync /tmp/uv/bin/uv /opt/scot/bin/python /tmp/requirements/web.txt --quiet --compile-bytecode \
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
 && python -m compileall -q scot services

USER 1000
EXPOSE 8080 8081
LABEL org.opencontainers.image.title="SCOT web" \
      org.opencontainers.image.description="The web service: HTTP and JSON before the search service" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["scot", "web"]
CMD ["--host", "0.0.0.0"]
