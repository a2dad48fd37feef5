# Two stages: the first installs from the lock file, the second holds only what runs.
FROM python:3.12-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock ./
COPY packages packages
COPY examples/workspace_member examples/workspace_member
RUN uv sync --frozen --no-editable --no-default-groups --package devflow-gateway-cli

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home devflow && install -d -o devflow /data
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH DEVFLOW_DATA_DIR=/data DEVFLOW_HOST=0.0.0.0 DEVFLOW_LOG_FORMAT=json
USER devflow
VOLUME /data
EXPOSE 8420
STOPSIGNAL SIGTERM
# /readyz is open, but only under an allowed Host: the loopback name is one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8420/readyz', timeout=2)"]
ENTRYPOINT ["devflow"]
CMD ["serve"]
