# Two stages: the locked dependencies and the packages are installed with uv, then only the environment is taken along.
FROM python:3.12-slim AS builder
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY asahi_kernel asahi_kernel
COPY plugins plugins
ENV UV_PROJECT_ENVIRONMENT=/opt/asahi UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN uv sync --locked --no-dev --no-editable --extra all

FROM python:3.12-slim
RUN groupadd --system asahi \
 && useradd --system --gid asahi --home-dir /app --shell /usr/sbin/nologin asahi \
 && install --directory --owner=asahi --group=asahi /app /app/data
COPY --from=builder /opt/asahi /opt/asahi
ENV PATH=/opt/asahi/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
USER asahi
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/health/live', timeout=4)"]
# One worker: without Redis its cache is in memory. On this address a key is needed: ASAHI_BOOTSTRAP_ADMIN_KEY, or auth.keys in a file.
CMD ["asahi", "serve", "--host", "0.0.0.0"]
