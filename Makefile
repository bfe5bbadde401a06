# Everything is run from here; `make help` lists what there is. The environment is made in .venv/ by need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv/bin/python
PIP := $(VENV) -m pip install --quiet --no-input --disable-pip-version-check --root-user-action=ignore
RUN := .venv/.requirements
DEV := .venv/.requirements-dev
# What tests need of the system.
PACKAGES := chromium clamav-daemon openssh-server

# Runs a command that Ctrl-C ends at once and without a word, its children too.
KILLABLE := killable() { set -m; "$$@" </dev/null & job=$$!; set +m; \
	trap 'kill -TERM -- -$$job 2>/dev/null; wait $$job 2>/dev/null; exit 130' INT TERM HUP; wait $$job; }
# A signal that comes while Python starts waits until the command can deal with it (where env knows how).
HELD := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT --block-signal=TERM --block-signal=HUP)

.PHONY: help demo demo-letters manage test lint bench drill system-packages
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do \
		printf '  make %-16s %s\n' "$$name" "$$what"; done

demo: $(RUN) ## a whole installation with simulated providers; ARGS=--exit ends by itself, ARGS=--kill-worker is a drill
	@exec $(HELD) $(VENV) manage.py demo $(ARGS)

demo-letters: $(RUN) ## a council's file to PDFs, a print run and zips under var/postal/
	@exec $(VENV) manage.py demo_letters

manage: $(RUN) ## any management command: make manage ARGS="help"
	@exec $(VENV) manage.py $(ARGS)

test: export NOTIFY_VAR_DIR := $(CURDIR)/var/test
test: lint ## lint, checks and all tests
	@$(VENV) manage.py makemigrations --check --dry-run
	@NOTIFY_ENVIRONMENT=production ALLOWED_HOSTS=notify.example.org ALERT_EMAILS=duty@example.org \
		SECRET_KEY=$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(50))') \
		SEARCH_HASH_KEY=$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(32))') \
		ENCRYPTION_KEYS=$$($(VENV) -c 'from cryptography import fernet; print(fernet.Fernet.generate_key().decode())') \
		$(VENV) manage.py check --deploy --fail-level WARNING
	@$(VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV) ## style and formatting
	@.venv/bin/ruff check --quiet . && .venv/bin/ruff format --check --quiet .

bench: $(RUN) ## every benchmark in bench/
	@$(foreach file,$(wildcard bench/[a-z]*.py),$(VENV) -m bench.$(basename $(notdir $(file))) && ) true

drill: $(RUN) ## every fault drill in drills/
	@$(foreach file,$(wildcard drills/[a-z]*.py),$(VENV) -m drills.$(basename $(notdir $(file))) && ) true

system-packages: ## what tests need of the system (Debian or Ubuntu, as root)
	@missing=; for name in $(PACKAGES); do \
		dpkg-query --show --showformat='$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || missing+=" $$name"; done; \
	if [ -z "$$missing" ]; then echo "Nothing is missing: $(PACKAGES)."; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "Without apt-get, install by hand:$$missing" >&2; exit 1; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "Installing$$missing needs root: sudo make system-packages" >&2; exit 1; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing >/dev/null

# A .venv without its stamp is one that was left half-made: it is made anew.
$(RUN): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 …")'
	@echo "Installing requirements.txt into .venv …" >&2
	@$(KILLABLE); { [ -e $@ ] || killable $(PYTHON) -m venv --clear .venv; } && rm -f .venv/.requirements* && \
		killable $(PIP) -r requirements.txt && touch $@

$(DEV): requirements-dev.txt $(RUN)
	@echo "Installing requirements-dev.txt into .venv …" >&2
	@$(KILLABLE); rm -f .venv/.requirements* && killable $(PIP) -r requirements-dev.txt && touch $(RUN) $@
