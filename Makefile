# Every target brings what it needs by itself: uv first, then the locked environment.
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv)
# Trust what this machine trusts, such as a company's own authority, where it keeps such a list.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS := 1
endif
.DEFAULT_GOAL := help
# What the dashboard is built of. Its pages are part of the package, and ignored by git.
PAGES := dashboard_api/src/asahi_dashboard_api/_ui
PAGE_SOURCES := $(shell find dashboard -type f -not -path '*/node_modules/*' -not -path '*/.next/*' -not -path '*/out/*' -not -name next-env.d.ts -not -name openapi.json -not -name '*.tsbuildinfo' 2>/dev/null)
NODE := $(shell command -v npm 2>/dev/null)
.PHONY: help setup dashboard pages types run test check format chaos-ledger chaos-outage bench lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready ## install everything but Presidio, which is large, into .venv; afterwards .venv/bin/asahi is the command

.venv/.ready: scripts/bootstrap.py uv.lock pyproject.toml $(wildcard */pyproject.toml plugins/*/*/pyproject.toml)
	python3 scripts/bootstrap.py
	$(UV) sync --locked --all-packages --all-extras --no-extra presidio
	@touch $@

dashboard: $(PAGES)/index.html ## build the dashboard's pages into its package; needs Node.js 20 or newer

dashboard/node_modules/.package-lock.json: dashboard/package-lock.json
	cd dashboard && npm ci --no-audit --no-fund

$(PAGES)/index.html: dashboard/node_modules/.package-lock.json $(PAGE_SOURCES)
	cd dashboard && NEXT_TELEMETRY_DISABLED=1 ASAHI_BUILD_ID=$$(node -p "require('./package.json').version") NEXT_PUBLIC_BASE_PATH=/__asahi_base__ NEXT_PUBLIC_API_PREFIX=/__asahi_api__ npm run --silent build
	rm -rf $(PAGES) && cp -r dashboard/out $(PAGES) && touch $@

# Where Node.js is, the pages are built when they are stale; the API runs without them.
pages:
ifdef NODE
	@$(MAKE) --no-print-directory dashboard || echo "the dashboard could not be built: the API runs without new pages"
else
	@test -e $(PAGES)/index.html || echo "no dashboard: install Node.js 20 and run make dashboard, or install a released wheel"
endif

types: setup dashboard/node_modules/.package-lock.json ## renew the dashboard's types from the contract
	.venv/bin/python scripts/contract.py dashboard/openapi.json
	cd dashboard && npm run --silent types

run: setup pages ## start the gateway on http://127.0.0.1:8000 (PORT and ASAHI_CONFIG are honoured)
	.venv/bin/asahi serve

test: setup pages ## run every test, two files at a time, against real servers that the tests start themselves
	.venv/bin/python -m pytest -n 2 --dist loadfile

check: setup ## lint, format, types, house tests
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m pytest tests/house

format: setup ## fix what can be fixed
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

chaos-ledger: setup ## kill a gateway 20 times with 1,000 requests in flight, on SQLite and PostgreSQL, and audit its books
	.venv/bin/python -m tests.chaos.ledger

chaos-outage: setup ## freeze PostgreSQL for a minute under load, kill it, and audit the books
	.venv/bin/python -m tests.chaos.outage

bench: setup ## CPU per request, as ratios within one run
	.venv/bin/python -m benchmarks.hot_path

lock: ## renew uv.lock
	python3 scripts/bootstrap.py
	$(UV) lock

clean: ## remove everything that can be made again
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache dist dashboard/node_modules dashboard/.next dashboard/out $(PAGES)
