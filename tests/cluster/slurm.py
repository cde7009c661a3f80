"""A real Slurm cluster of four nodes on this one machine, for the length of a `with` block.

Lives here: `SlurmCluster` and what it needs of the machine. Must not: fixtures, anything of the harness.

The controller `ctl` and the nodes n1..n4 are process trees (`machine.sh`), each in network, host-name, mount and
process namespaces of its own, wired to a switch in one more. The namespaces have no names and every tree dies with
the process that started it, so nothing stays behind, whichever way a test run ends.
"""

import ipaddress
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

NODES = ("n1", "n2", "n3", "n4")
_PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel", "scontrol", "ip", "unshare", "setpriv")
_PRIVATE = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_TETHERED = ("setpriv", "--pdeathsig", "KILL")
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}

# cred_expire: a requeued job waits for its old credential to expire, by default two minutes.
# sched_interval, bf_interval: how often the queue is looked at without cause, by default once in 60 and 30 s.
# DefMemPerCPU: without it each job takes the whole memory of its node. MinJobAge: how long squeue knows ended jobs.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost=ctl({controller})
SlurmUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/ctl.pid
SlurmdPidFile={folder}/%n.pid
SchedulerParameters=sched_interval=1,bf_interval=1
MinJobAge=86400
JobRequeue=1
ReturnToService=2
KillWait=5
KillOnBadExit=1
SlurmdTimeout=20
EnforcePartLimits=ALL
{nodes}
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=UNLIMITED State=UP
"""
_NODE = "NodeName={name} NodeAddr={address} CPUs=2 CoresPerSocket=2 RealMemory=64000 State=UNKNOWN"


def why_not() -> str | None:
    """Why this machine cannot hold the cluster, or None if it can."""
    if os.geteuid() != 0:
        return "a Slurm cluster needs root, for network namespaces"
    if absent := [program for program in _PROGRAMS if shutil.which(program) is None]:
        return f"a Slurm cluster needs {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client iproute2"
    probe = subprocess.run([*_PRIVATE, "ip", "link", "add", "type", "veth"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"a Slurm cluster needs namespaces: {probe.stderr.strip()}"


class SlurmCluster:
    """`folder` gets the configuration, state and logs. `machines["n3"].kill()` is a power failure of n3."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: dict[str, subprocess.Popen[str]] = {}
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        self.environment = outer | {"SLURM_CONF": str(folder / "slurm.conf")}
        """What a process needs to talk to this cluster, and nothing of one around it."""
        self._cable = f"slurm{os.getpid()}"
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with self._opened:
            self._start()
            self._opened = self._opened.pop_all()  # reached only if all went well
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def run(self, argv: Sequence[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command against the cluster, from outside its nodes; output is captured as text."""
        return subprocess.run(list(argv), env=self.environment, capture_output=True, text=True, timeout=timeout)

    def wait(self, job_ids: Collection[str], timeout: float = 60) -> dict[str, str]:
        """The final state of each job, array tasks apart. Raises TimeoutError with the states seen last."""
        listing = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={','.join(job_ids)}"]
        deadline = time.monotonic() + timeout
        while True:
            answer = self.run(listing)
            states = dict(line.split() for line in answer.stdout.splitlines())
            if set(job_ids) <= {task.partition("_")[0] for task in states} and _ENDED.issuperset(states.values()):
                return states
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout} s: {states or answer.stderr.strip()}")
            time.sleep(0.2)

    def _start(self) -> None:
        # The switch has a namespace of its own, because the host's firewall may filter what crosses a bridge.
        switch = self._launch("switch", ["unshare", "--net", "cat"])
        self._say(switch, "ready")  # `cat` repeats it as soon as the namespace exists
        self._await_ready("switch")
        hosts = dict(zip(("host", "ctl", *NODES), _addresses(), strict=True))
        self._configure(hosts)
        for name in ("ctl", *NODES):
            daemon = ["slurmctld", "-D"] if name == "ctl" else ["slurmd", "-D"]
            script = str(Path(__file__).with_name("machine.sh"))
            files = [str(self.folder / "hosts"), str(self.folder / f"{name}.log")]
            self._launch(name, [*_PRIVATE, "sh", script, name, str(hosts[name]), *files, *daemon])
        self._plug_in(hosts["host"])
        self._await_nodes()

    def _configure(self, hosts: dict[str, ipaddress.IPv4Interface]) -> None:
        (self.folder / "state").mkdir(parents=True)
        lines = [f"{address.ip} {name}" for name, address in hosts.items() if name != "host"]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
        nodes = "\n".join(_NODE.format(name=name, address=hosts[name].ip) for name in NODES)
        text = _CONFIGURATION.format(folder=self.folder, controller=hosts["ctl"].ip, nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")

    def _launch(self, name: str, argv: list[str]) -> subprocess.Popen[str]:
        with open(self.folder / f"{name}.errors", "w") as errors:
            machine = subprocess.Popen(
                [*_TETHERED, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, env=self.environment,
            )  # fmt: skip
        self.machines[name] = machine
        self._opened.callback(_end, machine)
        return machine

    def _plug_in(self, host: ipaddress.IPv4Interface) -> None:
        """Give every machine and this host a cable to the switch, then let the machines go on."""
        switch = str(self.machines["switch"].pid)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "host", "netns", switch)
        self._opened.callback(
            subprocess.run, ["ip", "link", "delete", self._cable], capture_output=True
        )  # or it is gone
        _ip("address", "add", str(host), "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        for name in ("ctl", *NODES):
            self._await_ready(name)
            machine = str(self.machines[name].pid)
            _ip("link", "add", name, "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", machine)
        inside = ["nsenter", f"--net=/proc/{switch}/ns/net"]
        _ip("link", "add", "bridge", "up", "type", "bridge", inside=inside)
        for name in ("host", "ctl", *NODES):
            _ip("link", "set", name, "master", "bridge", "up", inside=inside)
        for name in ("ctl", *NODES):
            self._say(self.machines[name], "go")

    def _await_ready(self, name: str) -> None:
        stdout = self.machines[name].stdout
        assert stdout is not None
        if stdout.readline() != "ready\n":
            raise RuntimeError(f"machine {name} did not start: {(self.folder / f'{name}.errors').read_text()}")

    def _await_nodes(self) -> None:
        deadline = time.monotonic() + 20
        while self.run(["sinfo", "--noheader", "--Node", "--format=%T"]).stdout.split() != ["idle"] * len(NODES):
            if time.monotonic() > deadline:
                logs = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in sorted(self.folder.glob("*.log")))
                raise RuntimeError(f"the Slurm nodes did not come up\n{logs}")
            time.sleep(0.05)

    @staticmethod
    def _say(machine: subprocess.Popen[str], word: str) -> None:
        assert machine.stdin is not None
        machine.stdin.write(f"{word}\n")
        machine.stdin.flush()


def _addresses() -> list[ipaddress.IPv4Interface]:
    """Six addresses of a block that is reserved for tests; another block for each test run."""
    first = int(ipaddress.IPv4Address("198.18.0.0")) + 8 * (os.getpid() % 16_384)
    return [ipaddress.IPv4Interface((first + number, 29)) for number in range(1, 7)]


def _ip(*arguments: str, inside: Sequence[str] = ()) -> None:
    subprocess.run([*inside, "ip", *arguments], check=True, stdin=subprocess.DEVNULL)


def _end(machine: subprocess.Popen[str]) -> None:
    machine.kill()  # everything on a machine dies with its first process
    machine.communicate()
