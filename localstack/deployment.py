"""Deploys the functions and the template to an emulator, as `tidemill deploy` does to AWS."""

import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from emulators import REGION
from processes import Failure

STACK = "tidemill"
CODE_BUCKET = "tidemill-code"
FUNCTIONS = ("api", "sweep", "authorize", "scale", "notify")
# The outputs that are queues of jobs with labels.
LABELLED = ("LabelledQueueUrlA", "LabelledQueueUrlB", "LabelledQueueUrlC")
TEMPLATE = Path(__file__).resolve().parent.parent / "infra" / "template.yml"


def stripped(binary: Path) -> bytes:
    """A binary without symbols, as releases are; unchanged if there is no `strip`."""
    if not shutil.which("strip"):
        return binary.read_bytes()
    with tempfile.NamedTemporaryFile() as small:
        subprocess.run(["strip", "--strip-all", "-o", small.name, binary], check=True)
        return Path(small.name).read_bytes()


def required_glibc(binary: bytes) -> tuple[int, int]:
    """The newest version of the C library that a binary asks for; (0, 0) if it asks for none."""
    return max(((int(a), int(b)) for a, b in re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\d]*\0)", binary)), default=(0, 0))


def check_glibc(functions: Path, present: tuple[int, int] | None) -> None:
    """Fails if a function needs a newer C library than the one with which it will run; None: this machine's."""
    if present is None:
        return
    for name in FUNCTIONS:
        path = functions / name
        if path.is_file() and (required := required_glibc(path.read_bytes())) > present:
            raise Failure(
                f"{path} needs glibc {required[0]}.{required[1]}, but functions run with glibc {present[0]}.{present[1]} there.\n"
                f"Build them on a system that is as old, or with `cargo lambda build`, and set TIDEMILL_FUNCTIONS_DIR."
            )


def zipped(binary: bytes) -> bytes:
    """A zip as `provided.al2023` wants it: one executable file named `bootstrap`. The same for the same binary; not
    compressed, since it does not leave this machine."""
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o100755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, binary)
    return packed.getvalue()


class Deployment:
    """The stack on an emulator."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        # LocalStack and MiniStack take any key; a 12-digit id would name an account.
        self.credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.session = boto3.Session(region_name=REGION, **self.credentials)

    def client(self, service: str):
        # Without retries, which would hide the first error: what an emulator fails at once, it fails again.
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=300)
        return self.session.client(service, endpoint_url=self.endpoint, config=config)

    def upload(self, functions: Path) -> str:
        """Uploads the functions' zips and returns their prefix, which depends on their content."""
        missing = [name for name in FUNCTIONS if not (functions / name).is_file()]
        if missing:
            raise Failure(
                f"{functions} lacks {', '.join(missing)}.\nBuild the functions: cargo build --release -p tidemill-functions"
                "\nor set their directory: TIDEMILL_FUNCTIONS_DIR"
            )
        bodies = {name: zipped(stripped(functions / name)) for name in FUNCTIONS}
        prefix = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies.values())).hexdigest()[:16]
        s3 = self.client("s3")
        s3.create_bucket(Bucket=CODE_BUCKET)
        for name, body in bodies.items():
            s3.put_object(Bucket=CODE_BUCKET, Key=f"{prefix}/{name}.zip", Body=body)
        s3.put_object(Bucket=CODE_BUCKET, Key="template.yml", Body=TEMPLATE.read_bytes())
        return prefix

    def apply(self, parameters: dict) -> dict:
        """Creates or updates the stack and returns its outputs."""
        cloudformation = self.client("cloudformation")
        request = {
            "StackName": STACK,
            # Sent by address, as its size demands on AWS.
            "TemplateURL": f"{self.endpoint}/{CODE_BUCKET}/template.yml",
            "Parameters": [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
            "Capabilities": ["CAPABILITY_IAM"],
        }
        try:
            status = self._status(cloudformation)
            if status == "ROLLBACK_COMPLETE":  # its creation failed, and there is nothing that could be updated
                cloudformation.delete_stack(StackName=STACK)
                cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
                status = None
            if status is None:
                self._create(cloudformation, request)
            else:
                cloudformation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise Failure(f"the emulator rejected the template: {error}") from error
        return self._outputs(cloudformation)

    @staticmethod
    def _create(cloudformation, request: dict) -> None:
        try:
            cloudformation.create_stack(**request)
        except ClientError:
            # LocalStack keeps a stack whose creation it rejected.
            cloudformation.delete_stack(StackName=STACK)
            raise

    def allow_for_the_emulator(self, outputs: dict) -> None:
        """Works around where the emulator is stricter than AWS; the template stays unchanged."""
        self._allow_plain_http(outputs)
        # AWS asks for the right to SendMessage, MiniStack for one of the batch's own name.
        statement = {"Effect": "Allow", "Action": "sqs:SendMessageBatch", "Resource": self._job_queues(outputs)}
        for role in ("ApiRole", "SweepRole"):
            found = self.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=role)
            self.client("iam").put_role_policy(
                RoleName=found["StackResourceDetail"]["PhysicalResourceId"],
                PolicyName="emulator",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
            )

    def _allow_plain_http(self, outputs: dict) -> None:
        """Removes the policies that require TLS."""
        self.client("s3").delete_bucket_policy(Bucket=outputs["BucketName"])
        sqs = self.client("sqs")

        def as_if_by_tls(request, **_):
            request.headers["X-Forwarded-Proto"] = "https"

        sqs.meta.events.register("before-send.sqs", as_if_by_tls)  # else the policies refuse this too
        for queue in ("QueueUrl", "DeadLetterQueueUrl", *LABELLED):
            if queue not in outputs:
                continue
            sqs.set_queue_attributes(QueueUrl=outputs[queue], Attributes={"Policy": ""})

    def _job_queues(self, outputs: dict) -> list[str]:
        return [self._arn(outputs[name]) for name in ("QueueUrl", *LABELLED) if name in outputs]

    def _arn(self, queue_url: str) -> str:
        reply = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        return reply["Attributes"]["QueueArn"]

    def worker_credentials(self, known: dict, outputs: dict) -> dict:
        """Credentials with the permissions of the template's WorkerRole; `known` ones if they are still valid."""
        iam, user = self.client("iam"), "tidemill-local-worker"
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
        statement = {"Effect": "Allow", "Action": actions, "Resource": self._job_queues(outputs)}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        try:
            iam.create_user(UserName=user)
        except iam.exceptions.EntityAlreadyExistsException:
            pass
        iam.put_user_policy(UserName=user, PolicyName="worker", PolicyDocument=policy)
        keys = [key["AccessKeyId"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]
        if known.get("TIDEMILL_WORKER_ACCESS_KEY_ID") in keys:
            return {
                name: known[name] for name in ("TIDEMILL_WORKER_ACCESS_KEY_ID", "TIDEMILL_WORKER_SECRET_ACCESS_KEY")
            }
        made = iam.create_access_key(UserName=user)["AccessKey"]
        return {
            "TIDEMILL_WORKER_ACCESS_KEY_ID": made["AccessKeyId"],
            "TIDEMILL_WORKER_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        }

    def function_log(self, name: str, lines: int = 20) -> str:
        """The last lines of a function's log, for error messages."""
        try:
            events = self.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{STACK}-{name}")["events"]
        except ClientError:
            return ""
        return "\n".join(event["message"].rstrip() for event in events[-lines:])

    @staticmethod
    def _status(cloudformation) -> str | None:
        """The stack's; None when there is no stack."""
        try:
            return cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
        except ClientError:
            return None

    @staticmethod
    def _outputs(cloudformation) -> dict:
        """The outputs, once the stack is complete."""
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        step = "stack_update_complete" if stack["StackStatus"].startswith("UPDATE") else "stack_create_complete"
        try:
            cloudformation.get_waiter(step).wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
        except Exception as error:
            events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
            failed = [
                f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
                for event in reversed(events)
                if "FAILED" in event["ResourceStatus"]
            ]
            raise Failure("the stack did not come up:\n" + ("\n".join(failed) or f"  {error}")) from error
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def architecture() -> str:
    """This machine's architecture, as Lambda names it."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
