"""Fault injections: each function disturbs a campaign until all executions were sent or its time is over."""

import threading
import time
from random import Random

from .campaign import Campaign
from .fleet import wait_until
from .own_engine import OwnEngine


def kills(campaign: Campaign, seconds: float) -> None:
    """Kills workers and the server at random moments."""
    deadline, random = time.monotonic() + seconds, campaign.random
    server_due = time.monotonic() + random.uniform(2, 6)
    while campaign.is_busy(deadline):
        time.sleep(random.uniform(0.5, 3.5))
        if time.monotonic() >= server_due:
            campaign.kill(campaign.server, random.choice([0, random.uniform(0, 2)]))
            server_due = time.monotonic() + random.uniform(4, 10)
            if random.random() < 0.3:
                # Once more, while it still reads what it left.
                time.sleep(random.uniform(0, 0.3))
                campaign.kill(campaign.server, 0)
        elif campaign.workers:
            campaign.kill(random.choice(campaign.workers), random.choice([0, random.uniform(0, 2)]))


def losses(campaign: Campaign, _: float) -> None:
    """Kills the only worker twice, each time while one of its scripts runs."""
    for _ in range(2):
        if wait_until(lambda: _has_begun(campaign), 60):
            campaign.kill(campaign.workers[0], 0)
            time.sleep(2 * campaign.lease_ms / 1000)
    wait_until(campaign.clients.is_sent, 60)


def _has_begun(campaign: Campaign) -> bool:
    with campaign.clients.lock:
        live = list(campaign.clients.live)
    jobs = (job for execution in live for job in campaign.api.status(execution)["jobs"])
    return any(job["status"] == "RUNNING" and job["log_bytes"] > 400 for job in jobs)


def cuts(campaign: Campaign, seconds: float) -> None:
    """Disconnects workers for less and more than a lease, slows them down, and pauses the server."""
    deadline, random = time.monotonic() + seconds, campaign.random
    seeds = [random.getrandbits(32) for _ in campaign.links]
    cutters = [
        threading.Thread(target=_cutter, args=(campaign, number, Random(seed), deadline))
        for number, seed in enumerate(seeds)
    ]
    for cutter in cutters:
        cutter.start()
    while campaign.is_busy(deadline):
        time.sleep(random.uniform(4, 10))
        if campaign.is_busy(deadline):
            _stand_still(campaign, random.uniform(0.2, 1.5) * campaign.lease_ms / 1000)
    for cutter in cutters:
        cutter.join()


def _cutter(campaign: Campaign, number: int, random: Random, deadline: float) -> None:
    lease, link = campaign.lease_ms / 1000, campaign.links[number]
    while campaign.is_busy(deadline):
        time.sleep(random.uniform(0.5, 3))
        long = random.random() < 0.5
        length = random.uniform(1.3 * lease, 4 * lease) if long else random.uniform(0.1 * lease, 0.7 * lease)
        mode = random.choice(["stall", "stall", "reset", "delay"])
        begun = time.time()
        link.set(mode, random.uniform(0.05, 0.5))
        time.sleep(length)
        if mode == "stall" and random.random() < 0.5:
            # What was sent meanwhile is lost for good.
            link.set("reset")
        link.set("pass")
        campaign.faults.note("cut", at=begun, until=time.time(), how=mode, of=f"worker-{number}")
        campaign.count(f"{mode} of a worker's network, {'longer' if long else 'shorter'} than a lease")


def _stand_still(campaign: Campaign, length: float) -> None:
    begun = time.time()
    campaign.server.pause()
    time.sleep(length)
    campaign.server.resume()
    campaign.faults.note("server", at=begun, until=time.time(), how="stood still", of="server")
    campaign.count("server stood still")


def both(campaign: Campaign, seconds: float) -> None:
    """Kills processes, and disconnects a worker once for more than a lease; for short runs."""
    cut = threading.Thread(target=_one_cut, args=(campaign,))
    cut.start()
    kills(campaign, seconds)
    cut.join()


def _one_cut(campaign: Campaign) -> None:
    time.sleep(3)
    begun = time.time()
    campaign.links[0].set("stall")
    time.sleep(1.5 * campaign.lease_ms / 1000)
    campaign.links[0].set("pass")
    campaign.faults.note("cut", at=begun, until=time.time(), how="stall", of="worker-0")
    campaign.count("stall of a worker's network, longer than a lease")


def engine_kills(engine: OwnEngine):
    """Kills the engine and restarts it shortly after."""

    def disturb(campaign: Campaign, seconds: float) -> None:
        deadline, random = time.monotonic() + seconds, campaign.random
        while campaign.is_busy(deadline):
            time.sleep(random.uniform(4, 9))
            begun = time.time()
            engine.kill()
            time.sleep(random.choice([0, random.uniform(0, 6)]))
            engine.start()
            campaign.faults.note("engine", at=begun, until=time.time(), how="kill -9", of="engine")
            campaign.count("kill -9 of the engine")

    return disturb
