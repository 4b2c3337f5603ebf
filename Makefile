# The two to start with: `make demo` and `make test`. Each does all of its own set-up.
.POSIX:
SEEDS = 10000
SEED_START = 1
.PHONY: help demo test lint audit fuzz api-fuzz model sim bench bench-cloud faults build clean engine-stop cloud-up cloud-demo cloud-down aws-localstack

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo:  ## run a small pipeline in containers and print its report
	@scripts/setup scripts/demo

test:  ## run every test, the ones in real containers too
	@scripts/setup scripts/test

lint:  ## check formatting, clippy (warnings are errors) and the scripts
	@scripts/lint

audit: ## check the dependencies' licenses, sources and known flaws; installs cargo-deny
	@scripts/audit install

fuzz:  ## fuzz what reads bytes that others wrote; SECONDS=600 for each target
	@SECONDS_EACH="$(SECONDS)" scripts/fuzz

api-fuzz: ## hold a running server against its OpenAPI document; SEED=random for fresh requests
	@SEED="$(SEED)" scripts/api-fuzz

model: ## check the protocol's model exhaustively, the large cases too; see docs/reliability.md
	@TIDEMILL_MODEL=full cargo nextest run --release -p backend --test model --no-capture --profile patient

sim:   ## simulate many runs of the services with faults; SEEDS=100000 SEED_START=1, TRACE=1 for every event
	@cargo build --quiet --release -p backend --example simulate --features memory
	@target/release/examples/simulate $(SEEDS) $(SEED_START)

bench: ## measure against the bare engine; see docs/performance.md
	@scripts/setup bench/run

bench-cloud: ## measure the AWS side on an emulator; see docs/performance.md
	@cargo build --release -p functions --bins && cargo build --release --bin tidemill
	@scripts/setup bench/cloud

# What `make faults` may be told: about how many seconds, how many executions under kill -9, which scenarios, which seed.
SECONDS = 600
EXECUTIONS = 200
ONLY =
SEED =
faults: ## kill, cut off and fill up real processes, then audit; SECONDS, EXECUTIONS, SEED, ONLY
	@cargo build --release -p functions --bins && cargo build --release --bin tidemill
	@scripts/setup bench/faults run --profile release --seconds "$(SECONDS)" --executions "$(EXECUTIONS)" \
		--only "$(ONLY)" --seed "$(SEED)"

build: ## build the release binary, target/release/tidemill
	cargo build --release --bin tidemill

cloud-up: ## bring the AWS deployment up on an emulator here; see localstack/README.md
	@scripts/setup localstack/cloud up

cloud-demo: ## run the demo pipeline on that deployment and print its report
	@scripts/setup scripts/cloud-demo

cloud-down: ## take it away again
	@localstack/cloud down

aws-localstack: ## run the tests of queue, objects and logs against LocalStack itself
	@scripts/localstack-suite

engine-stop: ## stop the engine if set-up started it by hand
	@scripts/engine stop

clean: ## remove what was built, the demo's files and the demo image
	cargo clean
	rm -rf .demo
	-@scripts/demo-image remove
