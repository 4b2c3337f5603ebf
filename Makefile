# Start with `make demo` and `make test`. Each does its own set-up.
.POSIX:
SEEDS = 10000
SEED_START = 1
# One build of `tidemill` and the functions: one after the other, they would differ in the features of shared crates.
BUILD_AWS = cargo build --release --bins -p tidemill-functions -p tidemill-cli --features tidemill-cli/aws
# Emulator of the local deployment: ministack, localstack, or localstack-image.
EMULATOR = $(TIDEMILL_EMULATOR)
.PHONY: help demo test browser-test lighthouse cases self-ci rootless-build-test docker-sidecar-test nightly observability-test docs lint audit fuzz api-fuzz model sim large-artifact bench bench-year bench-cloud load load-short faults release release-test build deploy-tools cloud-up cloud-demo cloud-down test-localstack engine-stop clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

demo:  ## run a small pipeline in containers and print its report
	@scripts/setup scripts/demo

test:  ## run every test, including those in containers
	@scripts/setup scripts/test

browser-test: ## test the web UI in Chromium with a real server; see docs/ui.md
	@scripts/setup scripts/browser-test

lighthouse: ## measure the web UI with Lighthouse on a throttled connection; installs it; see docs/performance.md
	@scripts/setup scripts/browser-test lighthouse

cases: ## run the tests of situations that users reported, and print a table
	@scripts/setup scripts/cases

self-ci: ## run .pipelines/ci.yml: Tidemill tests itself in a Debian image; see CONTRIBUTING.md
	@scripts/setup scripts/self-ci

rootless-build-test: ## build images with Buildah in jobs without privilege; see docs/rootless-builds.md
	@scripts/setup scripts/rootless-build-test

docker-sidecar-test: ## run a job with a Docker engine of its own; see docs/worker-toml.md
	@scripts/setup scripts/docker-sidecar-test

nightly: rootless-build-test docker-sidecar-test self-ci ## rootless-build-test, docker-sidecar-test and self-ci, which make images first

observability-test: ## test metrics, alerts and traces with Debian's Prometheus and an OTLP receiver; see docs/observability.md
	@scripts/setup scripts/observability-test

docs:  ## write docs/cli.md and docs/environment.md from the definition of the commands
	@UPDATE_DOCS=1 cargo test --quiet -p tidemill-cli --lib is_current

lint:  ## check formatting, clippy, dependencies, scripts, Python and spelling
	@scripts/lint

audit: ## check the dependencies' licenses, sources and advisories; installs cargo-deny
	@scripts/audit install

fuzz:  ## fuzz the readers of untrusted input; SECONDS=600 per target
	@SECONDS_EACH="$(SECONDS)" scripts/fuzz

api-fuzz: ## test a running server against its OpenAPI document; SEED=random for new requests
	@SEED="$(SEED)" scripts/api-fuzz

model: ## check the protocol's model exhaustively, with the large cases; see docs/reliability.md
	@TIDEMILL_MODEL=full cargo nextest run --release -p tidemill-testkit --test model --no-capture --profile patient

sim:   ## simulate the services with faults; SEEDS=100000 SEED_START=1, TRACE=1 prints every event
	@cargo build --quiet --release -p tidemill-testkit --example simulate
	@target/release/examples/simulate $(SEEDS) $(SEED_START)

large-artifact: ## unpack an artifact of a million entries within its limits of memory and open files
	@TIDEMILL_TEST_ENTRIES=1000000 cargo nextest run -p tidemill-worker --test many_entries --no-capture --profile patient

bench: ## benchmark against the bare engine; see docs/performance.md
	@scripts/setup bench/run

bench-year: ## simulate a year of a build server with retention, over EXECUTIONS=200000
	@bench/year "$(if $(filter file,$(origin EXECUTIONS)),200000,$(EXECUTIONS))"

bench-cloud: ## benchmark the AWS side on an emulator; see docs/performance.md
	@$(BUILD_AWS)
	@scripts/setup bench/cloud

load: ## load a deployment on an emulator: 2,000 executions, and 3 of 10,000 jobs; see docs/performance.md
	@$(BUILD_AWS)
	@scripts/setup bench/load

load-short: ## a twentieth of that load
	@$(BUILD_AWS)
	@scripts/setup bench/load short

# Settings of `make faults`: approximate duration, number of executions under kill -9, scenarios, seed.
SECONDS = 600
EXECUTIONS = 200
ONLY =
SEED =
faults: ## inject faults into real processes, then audit the results; SECONDS, EXECUTIONS, SEED, ONLY
	@$(BUILD_AWS)
	@scripts/setup bench/faults run --profile release --seconds "$(SECONDS)" --executions "$(EXECUTIONS)" \
		--only "$(ONLY)" --seed "$(SEED)"

# The program that `make release-test` packages; by default a new build for this machine.
BINARY =
release: ## make a release in target/release-output/: packages, images, chart, SBOM; see docs/install.md
	@scripts/release

release-test: ## install, start, upgrade and remove the packages in clean systems; BINARY=PATH packages that program
	@[ -n "$(BINARY)" ] || $(MAKE) deploy-tools
	@binary="$(BINARY)"; scripts/setup scripts/release-test --binary "$${binary:-target/release/tidemill}"

build: ## build the release binary, target/release/tidemill
	cargo build --release -p tidemill-cli

deploy-tools: ## build the release binary with `deploy`, `destroy` and the SQS worker, and the functions
	$(BUILD_AWS)

cloud-up: ## start the AWS deployment on a local emulator; EMULATOR=localstack; see localstack/README.md
	@TIDEMILL_EMULATOR="$(EMULATOR)" scripts/setup localstack/cloud up

cloud-demo: ## run the demo pipeline on that deployment and print its report
	@scripts/setup scripts/cloud-demo

cloud-down: ## remove that deployment
	@localstack/cloud down

test-localstack: ## run the tests of the AWS deployment and its adapters on LocalStack itself; installs it
	@scripts/setup scripts/localstack-suite

engine-stop: ## stop the engine that set-up started
	@scripts/engine stop

clean: ## remove build output, the demo's files and the demo image
	cargo clean
	rm -rf .demo .self-ci
	-@scripts/demo-image remove
	-@scripts/self-ci remove
	-@scripts/rootless-build-test remove
	-@scripts/docker-sidecar-test remove
	-@scripts/release-test remove
