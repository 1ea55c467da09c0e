# Every command of the project. `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN = .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-reset test lint bench fuzz soak screenshots

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup:  ## make .venv with the pinned requirements (under a second when done)
	@PYTHON="$(PYTHON)" sh .ci/setup

demo: setup  ## start everything with a demo promo day; Ctrl-C stops it
	@exec $(RUN) manage.py up --demo

demo-reset: setup  ## stop a running demo and delete its data folder
	@$(RUN) manage.py up --reset

test: setup  ## all checks and tests on SQLite, PostgreSQL and in the browser
	@$(RUN) .ci/test.py

lint: setup  ## style, types, import contracts, migrations, deployment checks
	@$(RUN) .ci/test.py lint

bench: setup  ## measurements, printed and not asserted
	@$(RUN) tests/bench/run.py

fuzz: setup  ## both plans of the formula language over a million cells (CELLS=... for another count)
	@HEDAO_FUZZ_CELLS=$(or $(CELLS),1000000) $(RUN) -m pytest -q -s -k every_cell \
		tests/rules_engine/formula/test_plans_agree.py

soak: setup  ## a day of 54,000 orders through all connectors with every fault on (ORDERS=..., SEED=..., POSTGRES=1)
	@$(RUN) tests/soak/run.py --orders $(or $(ORDERS),54000) --seed $(or $(SEED),7) $(if $(POSTGRES),--postgres)

screenshots: setup  ## every page at 1440 and 390 px, light and dark, into screenshots/
	@$(RUN) tests/frontend/screenshots.py
