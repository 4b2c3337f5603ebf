"""Starts or removes the deployment on a local emulator. Run it through `localstack/cloud`."""

import argparse
import hashlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from deployment import CODE_BUCKET, LABELLED, STACK, Deployment, architecture, check_glibc
from emulators import KINDS, REGION, answers
from engine import DEFAULT_HOST, remove_labelled
from processes import Background, Failure, tail, wait_until

CHECKOUT = Path(__file__).resolve().parent.parent
# Says of a directory that it is one of ours, which may be removed.
MARKER = "tidemill-local-cloud"
# How long a worker may take after SIGTERM to end its jobs or to hand them back.
WORKER_SECONDS = 90


def say(words: str) -> None:
    print(f"cloud: {words}", file=sys.stderr, flush=True)


def read_environment(path: Path) -> dict:
    """The settings of an env file; empty if it does not exist."""
    if not path.exists():
        return {}
    pairs = (line.split("=", 1) for line in shlex.split(path.read_text(), comments=True))
    return dict(pairs)


def write_environment(path: Path, values: dict) -> None:
    """Writes settings for shells (`. FILE`) and for programs that read lines, readable by the owner only."""
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in values.items()]
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Settings of the local deployment. Load them into a shell: set -a; . " + str(path) + "; set +a\n")
        file.writelines(lines)
    fresh.replace(path)


def binaries() -> tuple[Path, Path]:
    """The directory of the functions and the `tidemill` binary: as configured, otherwise built now."""
    functions, tidemill = os.environ.get("TIDEMILL_FUNCTIONS_DIR"), os.environ.get("TIDEMILL_BINARY")
    # As `make demo`: what compiles soonest.
    profile = os.environ.get("TIDEMILL_BUILD_PROFILE", "demo")
    target = Path(os.environ.get("CARGO_TARGET_DIR", CHECKOUT / "target"))
    built = (CHECKOUT / target) / ("debug" if profile == "dev" else profile)
    packages = ([] if functions else ["-p", "tidemill-functions"]) + (
        [] if tidemill else ["-p", "tidemill-cli", "--features", "tidemill-cli/aws"]
    )
    if packages:
        # One command for both: their shared crates would otherwise differ in features, and be compiled twice.
        command = ["cargo", "build", "--profile", profile, "--bins", *packages]
        say(f"building; the first time takes some minutes: {' '.join(command)}")
        began = time.monotonic()
        if subprocess.run(command, cwd=CHECKOUT).returncode:
            raise Failure("the build failed; see its output above.")
        say(f"built in {time.monotonic() - began:.0f} s")
    return Path(functions or built).resolve(), Path(tidemill or built / "tidemill").resolve()


class Cloud:
    """A local deployment with all of its state in one directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.env_file = directory / "env"
        self.worker = Background(directory, "worker")
        self.sweeper = Background(directory, "sweeper")
        self.engine_file = directory / "engine"
        self.kind_file = directory / MARKER

    def create_directory(self) -> None:
        """Creates the directory and stores the kind of emulator."""
        requested = os.environ.get("TIDEMILL_EMULATOR") or None
        kind = requested or "ministack"
        if kind not in KINDS:
            raise Failure(f"TIDEMILL_EMULATOR is {kind!r}; it must be one of: {', '.join(KINDS)}")
        if self.kind_file.exists():
            present = self.kind_file.read_text()
            if requested and requested != present:
                raise Failure(
                    f"the deployment in {self.directory} is on {present}. Remove it before you start one on {requested}:\n"
                    f"{self.removal()}"
                )
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise Failure(
                f"{self.directory} exists, but is not a local deployment of Tidemill. Use another one with --dir."
            )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.kind_file.write_text(kind)

    def removal(self) -> str:
        """The command that removes this deployment."""
        if self.directory == CHECKOUT / ".cloud":
            return "make cloud-down"
        return f"localstack/cloud --dir {self.directory} down"

    def emulator(self):
        """The emulator of this deployment."""
        return KINDS[self.kind_file.read_text()](self.directory)

    def up(self, options) -> None:
        """Starts or updates everything; each step checks what exists."""
        self.create_directory()
        functions, tidemill = binaries()
        emulator = self.emulator()
        check_glibc(functions, emulator.max_glibc)
        say("starting the emulator")
        port = emulator.start(options.port)
        endpoint = f"http://127.0.0.1:{port}"
        say(f"emulator listening at {endpoint}; deploying infra/template.yml")

        known = read_environment(self.env_file)
        token = known.get("TIDEMILL_TOKEN") or secrets.token_hex(32)
        worker_token = known.get("TIDEMILL_WORKER_TOKEN") or secrets.token_hex(32)
        deployment = Deployment(endpoint)
        prefix = deployment.upload(functions)
        outputs = deployment.apply(
            {
                "Name": STACK,
                "Architecture": architecture(),
                "ApiKind": emulator.api_kind,
                "RequireCredential": "true" if emulator.has_authorizers else "false",
                "CodeBucket": CODE_BUCKET,
                "CodePrefix": prefix,
                "AdminTokenSha256": hashlib.sha256(token.encode()).hexdigest(),
                "WorkerTokenSha256": hashlib.sha256(worker_token.encode()).hexdigest(),
                "MaxWorkers": 0,
                # No emulator evaluates these, and MiniStack refuses alarms that calculate.
                "Alarms": "off",
                "Dashboard": "off",
                **dict(setting.split("=", 1) for setting in options.parameter),
            }
        )
        deployment.allow_for_the_emulator(outputs)
        say("the stack is complete")

        # The output Endpoint is the address on AWS. This one needs no DNS.
        server = f"{endpoint}/_aws/execute-api/{outputs['ApiId']}/{outputs['ApiStage']}".replace("$", "%24")
        environment = {
            "TIDEMILL_SERVER": server,
            "TIDEMILL_TOKEN": token,
            "TIDEMILL_WORKER_TOKEN": worker_token,
            "TIDEMILL_QUEUE_URL": outputs["QueueUrl"],
            "TIDEMILL_DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
            "TIDEMILL_TABLE": outputs["TableName"],
            "TIDEMILL_BUCKET": outputs["BucketName"],
            # What `tidemill run` keeps on this machine is removed with the deployment.
            "TIDEMILL_DATA_DIR": str(self.directory / "client"),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": deployment.credentials["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": deployment.credentials["aws_secret_access_key"],
            # A worker gets these in place of the account's own above.
            **deployment.worker_credentials(known, outputs),
            **{f"TIDEMILL_LABELLED_QUEUE_URL_{name[-1]}": outputs[name] for name in LABELLED if name in outputs},
        }
        write_environment(self.env_file, environment)
        self.link_binary(tidemill)
        if not wait_until(lambda: answers(f"{server}/api/health"), 60):
            raise Failure(f"no reply from {server}/api/health. The end of its log:\n{deployment.function_log('api')}")
        if options.sweep_every:
            self.start_sweeper(options.sweep_every, environment)
        if options.worker:
            self.start_worker(tidemill, environment)
        print(self.words(options, server))

    def link_binary(self, tidemill: Path) -> None:
        """Names the binary of this deployment, for scripts/cloud-demo."""
        link = self.directory / "tidemill"
        link.unlink(missing_ok=True)
        link.symlink_to(tidemill)

    def start_sweeper(self, seconds: float, environment: dict) -> None:
        """Runs the sweep more often than the template's schedule."""
        self.sweeper.stop(10)
        command = [sys.executable, str(CHECKOUT / "localstack" / "sweeper.py"), f"{STACK}-sweep", str(seconds)]
        passed = {**os.environ, **environment}
        self.sweeper.start([*command, environment["AWS_ENDPOINT_URL"]], passed)

    def start_worker(self, tidemill: Path, environment: dict) -> None:
        """Starts the worker, or restarts it after a new build or deployment."""
        token = environment["TIDEMILL_WORKER_TOKEN"]
        what = hashlib.sha256(tidemill.read_bytes() + repr(environment).encode()).hexdigest()
        if (notes := self.worker.notes()) is not None:
            if notes.get("what") == what:
                return
            say("restarting the worker; its jobs end first")
            self.worker.stop(WORKER_SECONDS)
        passed = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TIDEMILL_"))}
        passed |= {
            "TIDEMILL_TOKEN": token,
            "TIDEMILL_DATA_DIR": str(self.directory / "worker"),
            "AWS_ENDPOINT_URL": environment["AWS_ENDPOINT_URL"],
            "AWS_REGION": environment["AWS_REGION"],
            "AWS_ACCESS_KEY_ID": environment["TIDEMILL_WORKER_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": environment["TIDEMILL_WORKER_SECRET_ACCESS_KEY"],
        }
        self.engine_file.write_text(os.environ.get("DOCKER_HOST", DEFAULT_HOST))
        command = [str(tidemill), "worker", "--server", environment["TIDEMILL_SERVER"]]
        self.worker.start([*command, "--queue", environment["TIDEMILL_QUEUE_URL"]], passed, {"what": what})
        # One that cannot work says so at once.
        if wait_until(lambda: not self.worker.is_running(), 1):
            raise Failure(f"the worker ended. The end of {self.worker.log}:\n{tail(self.worker.log)}")
        say(f"worker started; its log is {self.worker.log}")

    def words(self, options, server: str) -> str:
        demo = "make cloud-demo" if self.directory == CHECKOUT / ".cloud" else f"scripts/cloud-demo {self.directory}"
        return (
            f"Tidemill is up at {server}\n"
            f"  use it:           set -a; . {self.env_file}; set +a\n"
            f'                    tidemill run --server "$TIDEMILL_SERVER"\n'
            f"  run the demo:     {demo}\n"
            f"  remove it:        {self.removal()}"
        )

    def run(self, options) -> int:
        """Runs a command with an emulator without a deployment, and returns the command's exit code."""
        self.create_directory()
        try:
            port = self.emulator().start(options.port)
            endpoint = f"http://127.0.0.1:{port}"
            return subprocess.run(options.argv, env={**os.environ, "TIDEMILL_TEST_AWS_ENDPOINT": endpoint}).returncode
        finally:
            self.down()

    def down(self) -> None:
        """Stops and removes everything; missing parts are ignored."""
        if not self.directory.exists():
            say(f"{self.directory} does not exist; nothing to remove")
            return
        if not self.kind_file.exists():
            raise Failure(f"{self.directory} is not a local deployment of Tidemill; it is not changed.")
        self.sweeper.stop(10)
        if self.worker.is_running():
            say(f"stopping the worker: up to 20 s for its open request to the queue, {WORKER_SECONDS} s if jobs run")
            self.worker.stop(WORKER_SECONDS)
        if self.engine_file.exists():
            say("removing containers, networks and volumes that the worker left")
            remove_labelled(self.engine_file.read_text(), f"tidemill.data={self.directory / 'worker' / 'worker'}")
        say("stopping the emulator")
        self.emulator().stop()
        shutil.rmtree(self.directory)
        say(f"all of it is gone, with {self.directory}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="localstack/cloud", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, default=CHECKOUT / ".cloud", help="directory of the state [default: .cloud]"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("TIDEMILL_EMULATOR_PORT", "4566")),
        help="port of the emulator; 0: a free one [default: TIDEMILL_EMULATOR_PORT, or 4566]",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build, start the emulator, deploy, start a worker; or update all")
    up.add_argument("--no-worker", dest="worker", action="store_false", help="start no worker")
    up.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of infra/template.yml"
    )
    up.add_argument(
        "--sweep-every", type=float, metavar="SECONDS", help="run the sweep more often than each minute, for tests"
    )
    commands.add_parser("down", help="stop everything and remove it")
    run = commands.add_parser(
        "run", help="run a command with a bare emulator; its URL is in TIDEMILL_TEST_AWS_ENDPOINT"
    )
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")
    options = parser.parse_args()
    cloud = Cloud(options.dir.resolve())
    try:
        if options.command == "run":
            return cloud.run(options)
        cloud.up(options) if options.command == "up" else cloud.down()
    except Failure as failure:
        say(str(failure))
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
