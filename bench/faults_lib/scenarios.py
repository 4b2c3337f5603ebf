"""The scenarios, and the output of their results."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

from . import cloud as clouds
from . import disk as disks
from . import disturbances
from . import selftest as selftests
from .audit import Audit, Finding
from .campaign import Campaign
from .event_recorder import Engine
from .own_engine import OwnEngine
from .records import embedded
from .workload import Maker


def say(words: str) -> None:
    """Prints progress."""
    print(f"faults: {words}", file=sys.stderr, flush=True)


def docker_host() -> str:
    """The shared engine's address."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _campaign(case, options, executions, seconds, disturb, docker=None, **more) -> tuple[list[Finding], dict]:
    """A campaign from its start to its audit."""
    campaign = Campaign(
        case, options.binary, options.seed, docker=docker or docker_host(), executions=executions, **more
    )
    try:
        campaign.start()
        disturb(campaign, seconds)
        campaign.settle()
        return campaign.finish()
    except BaseException:
        campaign.abort()
        raise


def kills(case, options) -> tuple[list[Finding], dict]:
    """kill -9 of workers and of the server at random moments"""
    return _campaign(case, options, options.executions, 0.75 * options.seconds, disturbances.kills, workers=3)


def cuts(case, options) -> tuple[list[Finding], dict]:
    """the network between workers and server cut, stalled and slowed, for less and for more than a lease"""
    return _campaign(
        case,
        options,
        options.executions // 4,
        0.09 * options.seconds,
        disturbances.cuts,
        workers=2,
        own_workers=0,
        lease_ms=3000,
        maker=Maker(options.seed, pace=6),
    )


def engine(case, options) -> tuple[list[Finding], dict]:
    """kill -9 of the engine, one of the scenario's own, and its restart"""
    # Outside of the case: the data of the engine is not left over from the case.
    own = OwnEngine(case.with_name("own-engine"), docker_host())
    try:
        own.start()
        own.load_image()
        return _campaign(
            case,
            options,
            options.executions // 5,
            0.09 * options.seconds,
            disturbances.engine_kills(own),
            docker=own.address,
            workers=2,
            own_workers=0,
            maker=Maker(options.seed, pace=2),
        )
    finally:
        own.stop()


def disk(case, options) -> tuple[list[Finding], dict]:
    """full disks: the server's, again and again under load; then a worker's and an engine's, under one job"""
    found, figures = [], {}
    for part in (_server_disk, _worker_disk, _engine_disk):
        more, counted = part(case / part.__name__.strip("_"), options)
        found += more
        for what, number in counted.items():
            figures[what] = figures.get(what, 0) + number
    return found, figures


def _server_disk(case, options) -> tuple[list[Finding], dict]:
    small, found = disks.SmallDisk(case / "server", 96), []
    try:
        more, figures = _campaign(
            case,
            options,
            options.executions // 5,
            0.07 * options.seconds,
            disks.fillings(small, found),
            workers=2,
            own_workers=0,
            mounts={str(small.place)},
        )
        if found + more:
            # The disk goes; its content is kept for inspection.
            small.free()
            shutil.copytree(small.place, case / "server.kept")
        return found + more, figures
    finally:
        small.close()
        if (case / "server.kept").exists():
            shutil.rmtree(case / "server")
            (case / "server.kept").rename(case / "server")


def _worker_disk(case, options) -> tuple[list[Finding], dict]:
    small = disks.SmallDisk(case / "worker-0", 8)
    try:
        return _full_job(case, options, small, "worker", docker_host(), worker_data=small.place)
    finally:
        small.close()


def _engine_disk(case, options) -> tuple[list[Finding], dict]:
    root = case.with_name("engine-on-a-small-disk")
    small, own = disks.SmallDisk(root, 64), OwnEngine(root / "engine", docker_host())
    try:
        own.start()
        own.load_image()
        return _full_job(case, options, small, "engine", own.address)
    finally:
        own.stop()
        small.close()
        root.rmdir()


def cloud(case, options) -> tuple[list[Finding], dict]:
    """a deployment on the AWS emulator whose services throttle, fail, are slow, or lose replies"""
    place = clouds.Cloud(case.with_name("emulator"), options.binary, options.seed)
    campaign = None
    try:
        campaign = clouds.CloudCampaign(
            case, options.binary, options.seed, docker=docker_host(), executions=options.executions // 8, cloud=place
        )
        campaign.start()
        clouds.bad_days(campaign, 0.1 * options.seconds)
        campaign.settle()
        return campaign.finish()
    except BaseException:
        if campaign:
            campaign.abort()
        raise
    finally:
        place.down()


def _full_job(case, options, small, where, docker, **more) -> tuple[list[Finding], dict]:
    found = []
    findings, figures = _campaign(
        case,
        options,
        0,
        0,
        lambda campaign, _: found.extend(disks.job_on_a_full_disk(campaign, small, where)),
        docker=docker,
        workers=1,
        own_workers=0,
        cancels=0,
        mounts={str(small.place)},
        maker=disks.sources_only(options.seed),
        **more,
    )
    return found + findings, figures


# Those that start an engine of their own, or mount small disks.
NEED_ROOT = ("engine", "disk")
SCENARIOS = {"kills": kills, "cuts": cuts, "engine": engine, "disk": disk, "cloud": cloud}


def run(options) -> int:
    """Runs the selected scenarios."""
    wanted = options.only.split(",") if options.only else list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        say(f"there is no scenario {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
        return 2
    if os.geteuid() != 0:
        skipped = [name for name in wanted if name in NEED_ROOT]
        wanted = [name for name in wanted if name not in skipped]
        if skipped:
            say(f"SKIPPED, as only root may start an engine and mount small disks: {', '.join(skipped)}")
    return _run(options, {name: SCENARIOS[name] for name in wanted})


def short(options) -> int:
    """Runs a minute of kills and one cut."""

    def scenario(case, options):
        """kills and one cut, short"""
        return _campaign(case, options, options.executions, 45, disturbances.both, workers=2, lease_ms=3000)

    return _run(options, {"short": scenario})


def selftest(options) -> int:
    """Checks that the auditor finds damage in a case created for it."""
    say(f"seed {options.seed}, {options.binary}")
    root = pathlib.Path(tempfile.mkdtemp(prefix="tidemill-faults-", dir=options.dir)).resolve()
    try:
        # All kinds of jobs, and a worker that is lost while it runs some.
        maker = Maker(options.seed, pace=3, kinds=["diamond", "red", "flaky", "sources", "loud"], in_turn=True)
        findings, figures = _campaign(
            root / "good",
            options,
            10,
            60,
            disturbances.losses,
            workers=1,
            own_workers=0,
            lease_ms=3000,
            max_live=10,
            cancels=0,
            maker=maker,
        )
        _show("the good case", findings, figures, 0)
        missed = selftests.damages(root / "good", root / "damaged")
        missed += selftests.left_behind(root / "left", options.binary, Engine(docker_host()))
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    print(
        f"{len(missed)} of the damages were missed (seed {options.seed})"
        if missed
        else f"every damage was found (seed {options.seed})"
    )
    return 1 if missed or findings else 0


def _run(options, scenarios: dict) -> int:
    say(f"seed {options.seed}, {options.binary}")
    root = options.dir or pathlib.Path(tempfile.mkdtemp(prefix="tidemill-faults-"))
    root = root.resolve()
    bad = 0
    for name, scenario in scenarios.items():
        say(f"{name}: {scenario.__doc__}")
        case, begun = root / name, time.monotonic()
        shutil.rmtree(case, ignore_errors=True)
        try:
            findings, figures = scenario(case, options)
        except Exception:
            # Another scenario may still say something; this one could not be carried out.
            findings, figures = [Finding("the scenario could be carried out", name, traceback.format_exc())], {}
        _show(name, findings, figures, time.monotonic() - begun)
        if findings:
            bad += 1
            say(f"{name}: kept in {case}; again with: bench/faults audit {case}")
        elif not options.keep:
            shutil.rmtree(case, ignore_errors=True)
    with contextlib.suppress(OSError):
        root.rmdir()
    print(f"{len(scenarios) - bad} of {len(scenarios)} scenarios kept every promise (seed {options.seed})")
    return 1 if bad else 0


def _show(name: str, findings: list[Finding], figures: dict, took: float) -> None:
    print(f"\n{name}: {len(findings)} violation(s) in {took:.0f} s")
    for what, number in sorted(figures.items()):
        print(f"  {number:>10,}  {what}")
    for finding in findings[:40]:
        print(f"  VIOLATION  {finding}")
    if len(findings) > 40:
        print(f"  and {len(findings) - 40} more")
    sys.stdout.flush()


def audit(cases: list[pathlib.Path]) -> int:
    """Audits stored cases."""
    bad = 0
    for case in cases:
        it = Audit(case, embedded(case / "server"))
        findings = it.run()
        _show(case.name, findings, it.figures, 0)
        bad += bool(findings)
    return 1 if bad else 0
