"""Invokes a function repeatedly: schedules run once a minute, which is too slow for tests."""

import os
import sys
import time

import boto3


def main() -> None:
    function, seconds, endpoint = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    functions = boto3.client("lambda", endpoint_url=endpoint, region_name=os.environ["AWS_REGION"])
    while True:
        try:
            functions.invoke(FunctionName=function, InvocationType="RequestResponse")
        except Exception as error:  # whatever it is, the next round tries again
            print(f"{function}: {error}", file=sys.stderr, flush=True)
        time.sleep(seconds)


if __name__ == "__main__":
    main()
