# The front door. `make help` lists what there is; everything below runs from a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST_ARGS ?=
ARGS ?=

.PHONY: bench-daily upkeep-report help setup demo demo-daily up down status test test-fast test-soak test-trino lint format real-data hostile kill-test bench memory cleaning-report bench-identity customer-360 lookup-report erasure-proof rfm-report lock clean regions-proof store-import-report connectors-report quality-report restore-drill migration-report

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## everything the stack needs, into .venv and build/ (again: only what changed; offline then)
	@infra/stack/setup.sh

demo: setup  ## the whole way once on simulated traffic; stops the stack and keeps its data
	@$(BIN)/kefulake demo $(ARGS)

demo-daily: setup  ## one day of the daily run through a real Airflow, in a home of its own (.kefulake-daily)
	@KEFULAKE_HOME=$${KEFULAKE_HOME:-.kefulake-daily} KEFULAKE_PORT_BASE=$${KEFULAKE_PORT_BASE:-19400} $(BIN)/kefulake demo-daily $(ARGS)

up: setup  ## start the stack (kept data comes back)
	@$(BIN)/kefulake up $(ARGS)

down:  ## stop the stack, keep its data
	@$(BIN)/kefulake down

status:  ## parts, lag, freshness, balance
	@$(BIN)/kefulake status

test: setup lint  ## lint and tests, on a stack of their own in a temporary folder
	@$(BIN)/python -m pytest -q -m "not soak and not trino" $(PYTEST_ARGS)

test-soak: setup  ## kills and restarts of every part on a real stack (some minutes)
	@$(BIN)/python -m pytest -q -m soak $(PYTEST_ARGS)

test-fast: setup lint  ## the tests that need neither the stack nor Spark
	@$(BIN)/python -m pytest -q -m "not stack and not spark and not soak and not trino" $(PYTEST_ARGS)

test-trino: setup  ## both engines on the same queries (fetches Trino, 821 MB, once)
	@$(BIN)/python -c "from infra.stack.settings import Settings; from infra.trino import server; server.fetch(Settings.load())"
	@$(BIN)/python -m pytest -q -m trino $(PYTEST_ARGS)

lint: setup  ## style and common mistakes
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: setup  ## put the code into its form
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

real-data: setup  ## real conversations and tickets through the whole way: real_data.json
	@$(BIN)/python -m tests.bench.real_data $(ARGS)

hostile: setup  ## hostile input through the running job: hostile.json
	@$(BIN)/python -m tests.bench.hostile $(ARGS)

kill-test: setup  ## a million events under kill -9 of every part: kill_test.json
	@$(BIN)/python -m tests.bench.kill_test $(ARGS)

restore-drill: setup  ## everything killed under load, the home lost, restored elsewhere, three times: restore_drill.json
	@$(BIN)/python -m tests.bench.restore_drill $(ARGS)

bench: setup  ## throughput, latency and memory, beside Spark and a bare loop: bench.json
	@$(BIN)/python -m tests.bench.bench $(ARGS)

memory: setup  ## resident memory of every part, idle and under load: memory.json
	@$(BIN)/python -m tests.bench.memory $(ARGS)

cleaning-report: setup  ## precision and recall of every cleaning rule against the truth: cleaning.json
	@$(BIN)/python -m tests.bench.cleaning_report $(ARGS)

bench-identity: setup  ## matching beside Splink, resolver, 360° view, erasure: identity.json, customer_360.json, erasure.json
	@$(BIN)/python -m tests.bench.identity_match $(ARGS)
	@$(BIN)/python -m tests.bench.identity_resolution
	@$(BIN)/python -m tests.bench.rfm_cdnow
	@$(BIN)/python -m tests.bench.customer_360
	@$(BIN)/python -m tests.bench.customer_lookup
	@$(BIN)/python -m tests.bench.erasure

customer-360: setup  ## 200,000 customers, 5 million messages: beside full Spark SQL, and a day more: customer_360.json
	@$(BIN)/python -m tests.bench.customer_360 $(ARGS)

lookup-report: setup  ## 200 look-ups a second of 200,000 customers: customer_360.json
	@$(BIN)/python -m tests.bench.customer_lookup $(ARGS)

erasure-proof: setup  ## a person in every store before, in none after: erasure.json
	@$(BIN)/python -m tests.bench.erasure $(ARGS)

regions-proof: setup  ## two regions, records on purpose in the wrong root, every byte searched: regions.json
	@$(BIN)/python -m tests.bench.regions $(ARGS)

upkeep-report: setup  ## a week of the stream's files (simulated) with upkeep and without: upkeep.json, upkeep.svg
	@$(BIN)/python -m tests.bench.upkeep $(ARGS)

store-import-report: setup  ## ninety days of stores' files with every fault, through broker and job: store_import.json
	@$(BIN)/python -m tests.bench.store_import $(ARGS)

connectors-report: setup  ## 100 random fault schedules of a misbehaving API, every record once: connectors.json
	@$(BIN)/python -m tests.bench.connectors $(ARGS)

bench-daily: setup  ## the reports of the daily run, the longest first; one that fails does not end the others (2 h)
	@$(MAKE) -k migration-report restore-drill connectors-report store-import-report quality-report upkeep-report

rfm-report: setup  ## value tiers on real orders: customers worked by hand, recognition, next quarter: rfm.json
	@$(BIN)/python -m tests.bench.rfm_cdnow $(ARGS)

quality-report: setup  ## a defect of each kind planted, readers who look; a day's cost; anomalies: quality.json
	@$(BIN)/python -m tests.bench.quality $(ARGS)

migration-report: setup  ## ten years of an old system, killed, damaged, looked up: migration.json (ARGS="--rows 100000")
	@$(BIN)/python -m tests.bench.migration $(ARGS)

lock: setup  ## resolve requirements.lock again from setup.cfg (needs the network)
	@PATH="$$PATH:$(BIN)" uv pip compile setup.cfg --extra test --excludes infra/stack/left_out.txt --overrides infra/stack/overrides.txt -o requirements.lock --python-version 3.11 $(ARGS)

clean:  ## remove what set-up made (not the data of a stack)
	rm -rf .venv build
