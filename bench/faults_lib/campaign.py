"""A case: a server, its workers and its clients, what is done to them, and what the auditor says afterwards."""

import pathlib
import random
import threading
import time

from . import fleet
from .api import Api, Refused, Unreachable
from .audit import Audit, Finding
from .cable import Cable
from .ledger import Ledger
from .leftovers import leftovers
from .load import Load, Repository
from .records import embedded, waiting_messages
from .witness import Engine, Witness
from .work import Maker

# Long enough for what three tries of a job, each with its pause and its lease, and the jobs after it take.
SETTLE_SECONDS = 120


class Campaign:
    """Everything of one case, below a directory of its own. Workers reach the server over cables that can be cut."""

    def __init__(self, case: pathlib.Path, binary: pathlib.Path, seed: int, *, docker: str, executions: int,
                 workers: int = 2, own_workers: int = 1, lease_ms: int = 4000, most_live: int = 6,
                 data: pathlib.Path | None = None, mounts: set[str] | None = None, maker: Maker | None = None,
                 cancels: float = 0.08, worker_data: pathlib.Path | None = None):
        self.case, self.binary, self.docker, self.lease_ms = case, binary, docker, lease_ms
        self.random = random.Random(seed)
        (case / "tmp").mkdir(parents=True, exist_ok=True)
        self.engine = Engine(docker)
        self.networks = self.engine.networks()
        self.mounts = mounts or set()
        self.data = data or case / "server"
        self.faults = Ledger(case / "faults.jsonl")
        self.ledger = Ledger(case / "ledger.jsonl")
        self.port = fleet.free_port()
        self.server = fleet.server(binary, case, self.data, self.port, own_workers, lease_ms, docker)
        self.workers, self.cables = [], []
        self.wanted_workers, self.worker_data = workers, worker_data
        self.maker = maker or Maker(seed)
        self.seed, self.executions, self.most_live, self.cancels = seed, executions, most_live, cancels
        self.down: set[str] = set()
        self.lock, self.over = threading.Lock(), threading.Event()
        self.figures: dict[str, int] = {}

    def start(self) -> None:
        """Starts everything; the clients begin."""
        self.witness = Witness(self.engine, self.case / "events.jsonl")
        self.server.start()
        token = self.data / "token"
        if not fleet.wait_until(lambda: token.exists() and self.is_healthy(), 60):
            raise RuntimeError(f"the server does not come up; see {self.server.log}")
        self.token = token.read_text().strip()
        self.api = Api(f"http://127.0.0.1:{self.port}", self.token)
        for number in range(self.wanted_workers):
            cable = Cable(self.port)
            url = f"http://127.0.0.1:{cable.port}"
            worker = fleet.worker(self.binary, self.case, f"worker-{number}", url, self.token, self.docker,
                                  data=self.worker_data)
            self.cables.append(cable)
            self.workers.append(worker)
            worker.start()
        self._begin()

    def _begin(self) -> None:
        """Looks after the processes from now on; the clients begin."""
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()
        self.load = Load(self.api, self.ledger, self.maker, self.seed, self.executions, self.most_live,
                         Repository(self.case / "repository"), cancels=self.cancels)
        if self.executions:
            self.load.start()

    def is_healthy(self) -> bool:
        """Whether the server answers."""
        try:
            Api(f"http://127.0.0.1:{self.port}", "").call("GET", "/api/health", timeout=2)
            return True
        except (Unreachable, Refused):
            return False

    def processes(self) -> list[fleet.Process]:
        """All of them: what workers give back when they are stopped must still be taken, so the server is last."""
        return [*self.workers, *([self.server] if self.server else [])]

    def kill(self, process: fleet.Process, down: float) -> None:
        """Kills a process so that it cannot say a word, and starts it again after `down` seconds."""
        kind = "server" if process is self.server else "worker"
        with self.lock:
            self.down.add(process.name)
            begun = time.time()
            process.kill()
        time.sleep(down)
        process.start()
        with self.lock:
            self.down.discard(process.name)
        self.faults.note(kind, at=begun, until=time.time(), how="kill -9", of=process.name)
        self.count(f"kill -9 of a {kind}" if kind == "worker" else "kill -9 of the server")

    def count(self, what: str) -> None:
        """Counts a fault."""
        self.figures[what] = self.figures.get(what, 0) + 1

    def _keep(self) -> None:
        """Starts anew what ended by itself, as a service manager does."""
        while not self.over.wait(0.5):
            with self.lock:
                for process in self.processes():
                    if process.name not in self.down and not process.is_running():
                        self.faults.note("ended", of=process.name, code=process.child.returncode)
                        self.figures["processes that ended by themselves"] = (
                            self.figures.get("processes that ended by themselves", 0) + 1)
                        process.start()

    def is_busy(self, deadline: float) -> bool:
        """Whether there is still something to disturb."""
        return not self.load.is_sent() and time.monotonic() < deadline

    def settle(self) -> bool:
        """Ends the faults' time: nothing more is started, and what is live is waited for."""
        with self.load.lock:
            self.load.wanted = min(self.load.wanted, self.load.begun)
        for cable in self.cables:
            cable.set("pass")
        begun = time.monotonic()
        over = fleet.wait_until(self.load.is_over, SETTLE_SECONDS, 0.2)
        self.figures["ms until all was over"] = int((time.monotonic() - begun) * 1000)
        self.wait_for_messages()
        return over

    def wait_for_messages(self) -> None:
        """A message whose receiver was killed is hidden for a while: the workers must still be there to take it."""
        fleet.wait_until(lambda: waiting_messages(self.data) == 0, SETTLE_SECONDS, 0.2)

    def finish(self) -> tuple[list[Finding], dict]:
        """Stops everything, and audits: findings and figures."""
        found = self.unseen()
        self.load.end()
        found += self.stop()
        self.witness.close()
        self.ledger.close()
        self.faults.close()
        audit = Audit(self.case, embedded(self.data))
        found += audit.run()
        datas = [self.data, *(worker.data for worker in self.workers)]
        found += leftovers(self.case, self.binary, self.engine, self.networks, datas, self.mounts)
        return found, {**self.figures, **audit.figures}

    def unseen(self) -> list[Finding]:
        """Executions whose end no client has seen."""
        with self.load.lock:
            return [Finding("nothing is stuck", execution, "no client has seen its end") for execution in self.load.live]

    def stop(self) -> list[Finding]:
        """Stops workers, then the server; what did not stop well."""
        self.over.set()
        self.keeper.join()
        bad = [one.name for one in self.processes() if not one.stop()]
        for cable in self.cables:
            cable.close()
        return [Finding("what is told to stop stops well", name, f"see {name}.log") for name in bad]

    def abort(self) -> None:
        """Ends everything at once, after an error of the case itself."""
        self.over.set()
        load = getattr(self, "load", None)
        if load:
            load.stopping.set()
        for process in self.processes():
            process.kill()
