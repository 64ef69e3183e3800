# Three stages: the dashboard's pages are built, the locked dependencies and the packages are installed with uv, then only
# the environment is taken along.
FROM node:20-slim AS pages
WORKDIR /build
COPY dashboard/package.json dashboard/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY dashboard ./
ENV NEXT_TELEMETRY_DISABLED=1 NEXT_PUBLIC_BASE_PATH=/__asahi_base__ NEXT_PUBLIC_API_PREFIX=/__asahi_api__
RUN npm run --silent build

FROM python:3.12-slim AS builder
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY asahi_kernel asahi_kernel
COPY dashboard_api dashboard_api
COPY plugins plugins
COPY --from=pages /build/out dashboard_api/src/asahi_dashboard_api/_ui
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
