# The two to start with: `make demo` and `make test`. Each does all of its own set-up.
.POSIX:
SECONDS = 600
SEED = 1
.PHONY: help demo test lint fuzz api-fuzz model bench bench-cloud build clean engine-stop cloud-up cloud-demo cloud-down aws-localstack

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo:  ## run a small pipeline in containers and print its report
	@scripts/setup scripts/demo

test:  ## run every test, the ones in real containers too
	@scripts/setup scripts/test

lint:  ## check formatting, clippy (warnings are errors) and the scripts
	@scripts/lint

fuzz:  ## fuzz what reads bytes that others wrote; SECONDS=600 for each target
	@SECONDS_EACH="$(SECONDS)" scripts/fuzz

api-fuzz: ## hold a running server against its OpenAPI document; SEED=random for fresh requests
	@SEED="$(SEED)" scripts/api-fuzz

model: ## check the protocol's model exhaustively, the large cases too; see docs/reliability.md
	@TIDEMILL_MODEL=full cargo nextest run --release -p backend --test model --no-capture --profile patient

bench: ## measure against the bare engine; see docs/performance.md
	@scripts/setup bench/run

bench-cloud: ## measure the AWS side on an emulator; see docs/performance.md
	@cargo build --release -p functions --bins && cargo build --release --bin tidemill
	@scripts/setup bench/cloud

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
