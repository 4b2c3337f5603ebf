"""Small disks that are filled and freed again. Mounting them needs root."""

import pathlib
import subprocess
import threading
import time

from .api import Api, Refused, Unreachable
from .audit import Finding
from .campaign import Campaign
from .workload import Maker


class SmallDisk:
    """A file system of `megabytes` of its own at `place`."""

    def __init__(self, place: pathlib.Path, megabytes: int):
        self.place, self.filler = place, place / "filler"
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(place)], check=True)

    def fill(self) -> None:
        """Fills the disk completely."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Frees the space."""
        self.filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts the disk."""
        subprocess.run(["umount", "-l", str(self.place)], check=False)


def fillings(disk: SmallDisk, findings: list[Finding]):
    """Fills and frees the server's disk repeatedly, for longer each time, and once kills the server meanwhile."""

    def disturb(campaign: Campaign, seconds: float) -> None:
        deadline, random, times = time.monotonic() + seconds, campaign.random, 0
        while campaign.is_busy(deadline):
            time.sleep(random.uniform(2, 5))
            begun, until = time.time(), time.monotonic() + random.uniform(2, 6)
            times += 1
            while time.monotonic() < until:
                # What is freed meanwhile, the reserve among it, is taken too.
                disk.fill()
                time.sleep(0.1)
                _still_answers(campaign, findings)
            if times % 3 == 2:
                campaign.kill(campaign.server, 0)
            disk.free()
            campaign.faults.note("disk", at=begun, until=time.time(), how="full", of="server")
            campaign.count("filling of the server's disk")
            _recovers(campaign, findings)

    return disturb


def _still_answers(campaign: Campaign, findings: list[Finding]) -> None:
    """Reads work while the disk is full."""
    if not campaign.server.is_running():
        findings.append(
            Finding("a full disk ends no server", "server", f"it ended with {campaign.server.child.poll()}")
        )
        return
    with campaign.clients.lock:
        live = next(iter(campaign.clients.live), None)
    try:
        # It answers that it cannot take work.
        try:
            campaign.api.json("GET", "/api/health", timeout=5)
        except Refused as error:
            if error.status != 503:
                raise
        if live is not None:
            campaign.api.status(live)
    except (Refused, Unreachable) as error:
        findings.append(Finding("what only reads goes on while the disk is full", "server", str(error)))


def _recovers(campaign: Campaign, findings: list[Finding]) -> None:
    """Requests are accepted again once there is space."""
    with campaign.clients.lock:
        begun = campaign.clients.begun
    deadline = time.monotonic() + 20
    while (
        campaign.clients.begun == begun
        and not campaign.clients.is_sent()
        and len(campaign.clients.live) < campaign.clients.max_live
    ):
        if time.monotonic() > deadline:
            findings.append(
                Finding("the server recovers by itself", "server", "nothing was accepted for 20 s after space was free")
            )
            return
        time.sleep(0.1)


def job_on_a_full_disk(campaign: Campaign, disk: SmallDisk, where: str) -> list[Finding]:
    """Runs one execution while the worker's or engine's `disk` is full, and one after it has space again."""
    findings = []
    stop = threading.Event()

    def keep_full():
        while not stop.wait(0.05):
            disk.fill()

    disk.fill()
    keeper = threading.Thread(target=keep_full)
    keeper.start()
    begun = time.time()
    try:
        view = _run_one(campaign, 1)
    finally:
        stop.set()
        keeper.join()
        disk.free()
    campaign.faults.note("disk", at=begun, until=time.time(), how="full", of=where)
    campaign.count(f"filling of the {where}'s disk")
    job = view["jobs"][0]
    kind = (job["failure_reason"] or {}).get("kind")
    if (job["status"], kind) != ("FAILED", "disk_full"):
        words = f"it is {job['status']} ({job['failure_reason']})"
        findings.append(Finding("a job without disk space ends as disk_full", job["id"], words))
    view = _run_one(campaign, 2)
    if view["execution"]["status"] != "SUCCESS":
        findings.append(
            Finding(
                "the worker recovers by itself",
                view["execution"]["id"],
                f"it is {view['execution']['status']} with space again: {view['jobs'][0]['failure_reason']}",
            )
        )
    return findings


def _run_one(campaign: Campaign, wanted: int) -> dict:
    """Runs the next execution of the clients to its end."""
    with campaign.clients.lock:
        campaign.clients.wanted = wanted
    campaign.clients.start()
    deadline = time.monotonic() + 90
    while not campaign.clients.is_over():
        if time.monotonic() > deadline:
            raise RuntimeError("an execution on a full disk does not end")
        time.sleep(0.1)
    api: Api = campaign.api
    return api.status(api.executions()[0]["id"])


def sources_only(seed: int) -> Maker:
    """Plans whose jobs check out sources, which takes disk space."""
    return Maker(seed, kinds=["sources"])
