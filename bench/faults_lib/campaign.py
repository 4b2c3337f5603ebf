"""A case: a server, its workers and clients, the injected faults, and the audit."""

import pathlib
import random
import threading
import time

from . import fleet
from .api import Api, Refused, Unreachable
from .audit import Audit, Finding
from .clients import Clients, Repository
from .event_recorder import Engine, EventRecorder
from .journal import Journal
from .leftovers import leftovers
from .network_link import NetworkLink
from .records import embedded, waiting_messages
from .workload import Maker

# Long enough for what three tries of a job, each with its pause and its lease, and the jobs after it take.
SETTLE_SECONDS = 120


class Campaign:
    """One case, in its own directory. Workers reach the server over links that can be cut."""

    def __init__(
        self,
        case: pathlib.Path,
        binary: pathlib.Path,
        seed: int,
        *,
        docker: str,
        executions: int,
        workers: int = 2,
        own_workers: int = 1,
        lease_ms: int = 4000,
        max_live: int = 6,
        data: pathlib.Path | None = None,
        mounts: set[str] | None = None,
        maker: Maker | None = None,
        cancels: float = 0.08,
        worker_data: pathlib.Path | None = None,
    ):
        self.case, self.binary, self.docker, self.lease_ms = case, binary, docker, lease_ms
        self.random = random.Random(seed)
        (case / "tmp").mkdir(parents=True, exist_ok=True)
        self.engine = Engine(docker)
        self.mounts = mounts or set()
        self.data = data or case / "server"
        self.faults = Journal(case / "faults.jsonl")
        self.journal = Journal(case / "journal.jsonl")
        self.port = fleet.free_port()
        self.server = fleet.server(binary, case, self.data, self.port, own_workers, lease_ms, docker)
        self.workers, self.links = [], []
        self.wanted_workers, self.worker_data = workers, worker_data
        self.maker = maker or Maker(seed)
        self.seed, self.executions, self.max_live, self.cancels = seed, executions, max_live, cancels
        self.down: set[str] = set()
        self.lock, self.over = threading.Lock(), threading.Event()
        self.figures: dict[str, int] = {}

    def start(self) -> None:
        """Starts all processes and the clients."""
        self.recorder = EventRecorder(self.engine, self.case / "events.jsonl")
        self.server.start()
        token = self.data / "token"
        if not fleet.wait_until(lambda: token.exists() and self.is_healthy(), 60):
            raise RuntimeError(f"the server does not come up; see {self.server.log}")
        self.token = token.read_text().strip()
        self.api = Api(f"http://127.0.0.1:{self.port}", self.token)
        for number in range(self.wanted_workers):
            link = NetworkLink(self.port)
            url = f"http://127.0.0.1:{link.port}"
            worker = fleet.worker(
                self.binary, self.case, f"worker-{number}", url, self.token, self.docker, data=self.worker_data
            )
            self.links.append(link)
            self.workers.append(worker)
            worker.start()
        self._begin()

    def _begin(self) -> None:
        """Starts supervising the processes, and starts the clients."""
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()
        self.clients = Clients(
            self.api,
            self.journal,
            self.maker,
            self.seed,
            self.executions,
            self.max_live,
            Repository(self.case / "repository"),
            cancels=self.cancels,
        )
        if self.executions:
            self.clients.start()

    def is_healthy(self) -> bool:
        """Whether the server replies."""
        try:
            Api(f"http://127.0.0.1:{self.port}", "").call("GET", "/api/health", timeout=2)
            return True
        except (Unreachable, Refused):
            return False

    def processes(self) -> list[fleet.Process]:
        """All processes, with the server last: it must accept the jobs that stopping workers return."""
        return [*self.workers, *([self.server] if self.server else [])]

    def kill(self, process: fleet.Process, down: float) -> None:
        """Kills a process with SIGKILL and restarts it after `down` seconds."""
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
        """Restarts processes that ended by themselves, as a service manager does."""
        while not self.over.wait(0.5):
            with self.lock:
                for process in self.processes():
                    if process.name not in self.down and not process.is_running():
                        self.faults.note("ended", of=process.name, code=process.child.returncode)
                        self.figures["processes that ended by themselves"] = (
                            self.figures.get("processes that ended by themselves", 0) + 1
                        )
                        process.start()

    def is_busy(self, deadline: float) -> bool:
        """Whether faults are still to be injected."""
        return not self.clients.is_sent() and time.monotonic() < deadline

    def settle(self) -> bool:
        """Ends the fault phase: starts no further executions, and waits for live ones."""
        with self.clients.lock:
            self.clients.wanted = min(self.clients.wanted, self.clients.begun)
        for link in self.links:
            link.set("pass")
        begun = time.monotonic()
        over = fleet.wait_until(self.clients.is_over, SETTLE_SECONDS, 0.2)
        self.figures["ms until all was over"] = int((time.monotonic() - begun) * 1000)
        self.wait_for_messages()
        return over

    def wait_for_messages(self) -> None:
        """Waits until messages of killed receivers reappear and are handled."""
        fleet.wait_until(lambda: waiting_messages(self.data) == 0, SETTLE_SECONDS, 0.2)

    def finish(self) -> tuple[list[Finding], dict]:
        """Stops everything and runs the audit. Returns findings and figures."""
        found = self.unseen()
        self.clients.end()
        found += self.stop()
        self.recorder.close()
        self.journal.close()
        self.faults.close()
        audit = Audit(self.case, embedded(self.data))
        found += audit.run()
        data_dirs = [self.data, *(worker.data for worker in self.workers)]
        found += leftovers(self.case, self.binary, self.engine, data_dirs, self.mounts)
        return found, {**self.figures, **audit.figures}

    def unseen(self) -> list[Finding]:
        """Executions whose end no client saw."""
        with self.clients.lock:
            return [
                Finding("nothing is stuck", execution, "no client has seen its end") for execution in self.clients.live
            ]

    def stop(self) -> list[Finding]:
        """Stops workers, then the server. Returns findings for failed stops."""
        self.over.set()
        self.keeper.join()
        bad = [one.name for one in self.processes() if not one.stop()]
        for link in self.links:
            link.close()
        return [Finding("processes stop cleanly", name, f"see {name}.log") for name in bad]

    def abort(self) -> None:
        """Kills everything after an error in the case itself."""
        self.over.set()
        clients = getattr(self, "clients", None)
        if clients:
            clients.stopping.set()
        for process in self.processes():
            process.kill()
