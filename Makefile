# Every target brings what it needs by itself: uv first, then the locked environment.
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv)
# Trust what this machine trusts, such as a company's own authority, where it keeps such a list.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS := 1
endif
.DEFAULT_GOAL := help
.PHONY: help setup run test check format chaos-ledger chaos-outage bench lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready ## install everything into .venv; afterwards .venv/bin/asahi is the command

.venv/.ready: scripts/bootstrap.py uv.lock pyproject.toml $(wildcard */pyproject.toml plugins/*/*/pyproject.toml)
	python3 scripts/bootstrap.py
	$(UV) sync --locked --all-packages --all-extras
	@touch $@

run: setup ## start the gateway on http://127.0.0.1:8000 (PORT and ASAHI_CONFIG are honoured)
	.venv/bin/asahi serve

test: setup ## run every test, against real servers that the tests start themselves
	.venv/bin/python -m pytest

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
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache dist
