"""The workload: pipelines with known logs, artifacts and results.

A job's script says on lines that begin with `@` which attempt it is, in which workspace it runs and at which time of
the machine's clock, then counts, then prints that it has ended. So its log shows by itself whether a byte is missing,
doubled or out of place, and the engine's own events show when its container began and ended.
"""

import json
import random

BEGIN = "echo \"@ begin $TIDEMILL_JOB_ID $TIDEMILL_ATTEMPT $(cut -d' ' -f1 /proc/uptime) $(grep ' /workspace ' /proc/self/mountinfo)\""
END = "echo \"@ end $TIDEMILL_JOB_ID $TIDEMILL_ATTEMPT $(cut -d' ' -f1 /proc/uptime)\""
# What a line carries beside its number.
FILLER = "the tide comes in and the mill turns and the tide goes out"
IMAGE = "tidemill-demo:1"
# The exit code of a job that finds what a need left to be something else.
WRONG_INPUT = 9


def count(lines: int, pause: float) -> str:
    """A command that prints numbered lines and sleeps `pause` seconds after every twenty."""
    return (
        f'n=0; while [ $n -lt {lines} ]; do n=$((n+1)); echo "@ $n {FILLER}"; '
        f"[ $((n % 20)) != 0 ] || sleep {pause}; done"
    )


def flood(lines: int) -> str:
    """A command that prints numbered lines as fast as it can."""
    return f"seq 1 {lines} | sed 's/.*/@ & {FILLER}/'"


class Plan:
    """A pipeline and its expected results. Jobs end `ok`, `fail` or `skip`, unless faults use up their attempts."""

    def __init__(self, kind: str, jobs: dict, expected: dict, sources: bool = False):
        self.kind, self.jobs, self.expected, self.sources = kind, jobs, expected, sources

    def text(self) -> str:
        """The pipeline file; JSON is YAML."""
        stages = sorted({job["stage"] for job in self.jobs.values()})
        return json.dumps({"name": self.kind, "stages": stages, "jobs": self.jobs})


class Maker:
    """Generates plans from a seed, of random `kinds` or in turn; `pace` scales the duration of jobs."""

    def __init__(self, seed: int, pace: float = 1.0, kinds: list | None = None, in_turn: bool = False):
        self.random, self.pace, self.in_turn, self.made = random.Random(seed), pace, in_turn, 0
        self.kinds = kinds or ["diamond"] * 4 + ["flaky"] * 2 + ["red"] * 2 + ["loud"] + ["sources"] * 2

    def next(self) -> Plan:
        """The next plan."""
        self.made += 1
        kind = self.kinds[self.made % len(self.kinds)] if self.in_turn else self.random.choice(self.kinds)
        return getattr(self, "_" + kind)()

    def _job(self, stage: str, script: list, **more) -> dict:
        return {"stage": stage, "image": IMAGE, "script": [BEGIN, *script, END], **more}

    def _lines(self) -> tuple[int, str]:
        lines = self.random.randrange(20, 400)
        return lines, count(lines, round(self.random.uniform(0.02, 0.15) * self.pace, 3))

    def _diamond(self) -> Plan:
        numbers = self.random.randrange(100, 60_000)
        (a, make), (b, left), (c, right), (d, join) = (self._lines() for _ in range(4))
        keep = f'mkdir -p out && seq 1 {numbers} >out/numbers && echo "$TIDEMILL_JOB_ID $TIDEMILL_ATTEMPT" >out/owner'
        check = f'[ "$(wc -l <out/numbers)" = {numbers} ] && [ "$(tail -n 1 out/numbers)" = {numbers} ] || exit {WRONG_INPUT}'
        half = "awk 'NR % 2' out/numbers | wc -l >half-$TIDEMILL_JOB && echo \"$TIDEMILL_JOB_ID $TIDEMILL_ATTEMPT\" >>half-$TIDEMILL_JOB"
        odd = (numbers + 1) // 2
        both = f'[ "$(head -q -n 1 half-left half-right | sort -u)" = {odd} ] || exit {WRONG_INPUT}'
        jobs = {
            "make": self._job("a", [make, keep], artifacts={"paths": ["out/"]}),
            "left": self._job("b", [check, left, half], needs=["make"], artifacts={"paths": ["half-left"]}),
            "right": self._job("b", [check, right, half], needs=["make"], artifacts={"paths": ["half-right"]}),
            "join": self._job("c", [both, join], needs=["left", "right"]),
        }
        expected = {
            "make": {"end": "ok", "lines": a, "owner": "out/owner", "numbers": numbers},
            "left": {"end": "ok", "lines": b, "owner": "half-left"},
            "right": {"end": "ok", "lines": c, "owner": "half-right"},
            "join": {"end": "ok", "lines": d},
        }
        return Plan("diamond", jobs, expected)

    def _flaky(self) -> Plan:
        (a, first), (b, second) = self._lines(), self._lines()
        fails = "[ $TIDEMILL_ATTEMPT -gt 1 ] || exit 75"
        jobs = {
            "flaky": self._job("a", [first, fails], retry=1),
            "after": self._job("b", [second], needs=["flaky"]),
        }
        return Plan("flaky", jobs, {"flaky": {"end": "ok", "lines": a}, "after": {"end": "ok", "lines": b}})

    def _red(self) -> Plan:
        (a, first), (b, second), (c, third) = (self._lines() for _ in range(3))
        jobs = {
            "bad": self._job("a", [first, "exit 3"]),
            "tolerated": self._job("a", [second, "exit 4"], allow_failure=True),
            "never": self._job("b", ["true"], needs=["bad"]),
            "still": self._job("b", [third], needs=["tolerated"]),
        }
        expected = {
            "bad": {"end": "fail", "lines": a, "code": 3},
            "tolerated": {"end": "fail", "lines": b, "code": 4},
            "never": {"end": "skip"},
            "still": {"end": "ok", "lines": c},
        }
        return Plan("red", jobs, expected)

    def _loud(self) -> Plan:
        lines = self.random.randrange(10_000, 40_000)
        jobs = {"loud": self._job("a", [flood(lines), "sleep 0.3"])}
        return Plan("loud", jobs, {"loud": {"end": "ok", "lines": lines}})

    def _sources(self) -> Plan:
        a, lines = self._lines()
        check = f"[ \"$(cat source.txt)\" = 'from the repository' ] || exit {WRONG_INPUT}"
        jobs = {"read": self._job("a", [check, lines, "echo changed >source.txt"])}
        return Plan("sources", jobs, {"read": {"end": "ok", "lines": a}}, sources=True)
