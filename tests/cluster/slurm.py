"""A real Slurm cluster of four nodes on this one machine, for the length of a `with` block.

Lives here: `SlurmCluster` and what it needs of the machine. Must not: fixtures, anything of the harness.

The controller `ctl` and the nodes n1..n4 are process trees (`machine.sh`), each in network, host-name, mount and
process namespaces of its own, wired to a switch in one more. The namespaces have no names and every tree dies with
the process that started it, so nothing stays behind, whichever way a test run ends. A file system of limited size,
`shared`, is seen by all of them and by this host.

Partitions, all over the same nodes: `main`, where jobs are preempted at once; `grace`, where they get their signal and
`GRACE_SECONDS` first; `urgent`, which preempts the two others.
"""

import ipaddress
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Self

NODES = ("n1", "n2", "n3", "n4")
GRACE_SECONDS = 15
SHARED_MIB = 2048
_CLIENTS = ("srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
_PROGRAMS = ("slurmctld", "slurmd", *_CLIENTS, "ip", "unshare", "nsenter", "setpriv")
_PRIVATE = ("unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_TETHERED = ("setpriv", "--pdeathsig", "KILL")
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}

# cred_expire: a requeued job waits for its old credential to expire and a second more: by default two minutes,
#   and again two minutes if less than 5 is asked for.
# KillWait: what TERM leaves to a job before KILL. SlurmdTimeout: when a node that says nothing counts as dead.
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
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=86400
MaxJobCount=30000
JobRequeue=1
ReturnToService=2
KillWait=3
KillOnBadExit=1
SlurmdTimeout=10
EnforcePartLimits=ALL
{nodes}
PartitionName=DEFAULT Nodes=ALL DefaultTime=10 MaxTime=UNLIMITED State=UP
PartitionName=main Default=YES PriorityTier=1
PartitionName=grace PriorityTier=1 GraceTime={grace}
PartitionName=urgent PriorityTier=2 PreemptMode=OFF
"""
_NODE = "NodeName={name} NodeAddr={address} CPUs=4 CoresPerSocket=4 RealMemory=64000 State=UNKNOWN"


class Process(NamedTuple):
    """One rank of a job step, as this host sees it."""

    rank: int
    node: str
    pid: int


def why_not() -> str | None:
    """Why this machine cannot hold the cluster, or None if it can."""
    if os.geteuid() != 0:
        return "a Slurm cluster needs root, for network namespaces"
    if absent := [program for program in _PROGRAMS if shutil.which(program) is None]:
        return f"a Slurm cluster needs {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client iproute2"
    probe = subprocess.run([*_PRIVATE, "ip", "link", "add", "type", "veth"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"a Slurm cluster needs namespaces: {probe.stderr.strip()}"


class SlurmCluster:
    """`folder` gets the configuration, state and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: dict[str, subprocess.Popen[str]] = {}
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        self.environment = outer | {"SLURM_CONF": str(folder / "slurm.conf")}
        """What a process needs to talk to this cluster, and nothing of one around it."""
        self.clocks = folder / "clocks"
        """Notes on clocks that are wrong, read by every Python of a job."""
        self.environment |= {"PYTHONPATH": str(Path(__file__).with_name("clock")), "TEST_CLOCKS": str(self.clocks)}
        self.shared = folder / "shared"
        """A file system of `SHARED_MIB`, the same on this host and on every machine."""
        self._hosts = dict(zip(("host", "ctl", *NODES), _addresses(), strict=True))
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

    def ranks(self, job: str) -> list[Process]:
        """What srun started for the job (`123` or `123_4`) and still lives, on nodes that are cut off too."""
        alive = {name: machine.pid for name, machine in self.machines.items() if machine.poll() is None}
        spaces = {os.readlink(f"/proc/{pid}/ns/pid_for_children"): name for name, pid in alive.items()}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                node, variables = spaces.get(os.readlink(folder / "ns/pid")), _environment(folder)
                if node and _is_rank(variables, folder) and job in _names(variables):
                    found.append(Process(int(variables["SLURM_PROCID"]), node, int(folder.name)))
        return sorted(found)

    def inside(self, name: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as if typed on that machine."""
        outer = self.machines[name].pid
        first = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]
        return self.run(["nsenter", f"--target={first}", "--net", "--uts", "--mount", "--pid", *argv])

    def preempt(self, node: str) -> str:
        """Submit an urgent job that needs the whole node; return its id. Cancel it to give the node back."""
        wish = ["--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 3600"]
        return self.run(["sbatch", "--parsable", *wish]).stdout.strip()

    def restart_controller(self) -> None:
        """Stop slurmctld in order, so that it saves what it knows, and start it again; return when it answers."""
        self.run(["scontrol", "shutdown", "slurmctld"])
        self.machines["ctl"].wait(timeout=20)
        self.revive_node("ctl")
        deadline = time.monotonic() + 20
        while self.run(["scontrol", "ping"]).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("slurmctld does not come back")
            time.sleep(0.05)

    def fail_node(self, name: str) -> None:
        """A power failure: every process of the machine is gone at once."""
        _end(self.machines[name])

    def revive_node(self, name: str) -> None:
        """Switch a failed machine on again."""
        # The kernel clears up after a dead machine when it finds time.
        subprocess.run([*self._switch, "ip", "link", "delete", name], capture_output=True)
        self._boot(name)
        self._wire(name)

    def cut_link(self, name: str) -> None:
        """Pull the machine's cable out of the switch; whatever runs there goes on."""
        _ip("link", "set", name, "down", inside=self._switch)

    def heal_link(self, name: str) -> None:
        """Plug the cable in again."""
        _ip("link", "set", name, "up", inside=self._switch)

    def await_nodes(self, timeout: float = 20) -> None:
        """Wait until all nodes are idle. Raises RuntimeError with the daemons' last words."""
        deadline = time.monotonic() + timeout
        listing = ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%T"]
        while (states := self.run(listing).stdout.split()) != ["idle"] * len(NODES):
            if time.monotonic() > deadline:
                logs = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in sorted(self.folder.glob("*.log")))
                raise RuntimeError(f"the Slurm nodes are {states}, not idle\n{logs}")
            time.sleep(0.05)

    def _start(self) -> None:
        self._mount()
        # The switch has a namespace of its own, because the host's firewall may filter what crosses a bridge.
        self._say(self._launch("switch", ["unshare", "--net", "cat"]), "ready")  # repeated once the namespace exists
        self._await_ready("switch")
        self._switch = ["nsenter", f"--net=/proc/{self.machines['switch'].pid}/ns/net"]
        self._configure(self._hosts)
        _ip("link", "add", "bridge", "up", "type", "bridge", inside=self._switch)
        for name in ("ctl", *NODES):
            self._boot(name)
        self._plug_in(self._hosts["host"])
        for name in ("ctl", *NODES):
            self._wire(name)
        self.await_nodes()

    def _mount(self) -> None:
        """Mount `shared` for as long as this process lives, however it ends."""
        self.shared.mkdir(parents=True)
        mount = f'mount -t tmpfs -o size={SHARED_MIB}m shared "$1" && echo ready && cat; umount --lazy "$1"'
        keeper = subprocess.Popen(
            ["sh", "-c", mount, "sh", str(self.shared)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # a signal to the whole test run is not for it
        )  # fmt: skip
        self._opened.callback(keeper.communicate)  # its input ends, so it unmounts
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"a file system could not be mounted at {self.shared}")

    def _boot(self, name: str) -> None:
        daemon = ["slurmctld", "-D"] if name == "ctl" else ["slurmd", "-D"]
        script = str(Path(__file__).with_name("machine.sh"))
        files = [str(self.folder / "hosts"), str(self.folder / f"{name}.log")]
        self._launch(name, [*_PRIVATE, "sh", script, name, str(self._hosts[name]), *files, *daemon])

    def _configure(self, hosts: dict[str, ipaddress.IPv4Interface]) -> None:
        (self.folder / "state").mkdir()
        self.clocks.mkdir()
        lines = [f"{address.ip} {name}" for name, address in hosts.items() if name != "host"]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
        nodes = "\n".join(_NODE.format(name=name, address=hosts[name].ip) for name in NODES)
        text = _CONFIGURATION.format(folder=self.folder, controller=hosts["ctl"].ip, nodes=nodes, grace=GRACE_SECONDS)
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
        """Give this host a cable to the switch."""
        switch = str(self.machines["switch"].pid)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "host", "netns", switch)
        self._opened.callback(
            subprocess.run, ["ip", "link", "delete", self._cable], capture_output=True
        )  # or it is gone
        _ip("address", "add", str(host), "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        _ip("link", "set", "host", "master", "bridge", "up", inside=self._switch)

    def _wire(self, name: str) -> None:
        """Give a machine a cable to the switch, then let it go on."""
        self._await_ready(name)
        switch, machine = str(self.machines["switch"].pid), str(self.machines[name].pid)
        card = "02:00:" + self._hosts[name].packed.hex(":")  # of its own for good, so that others need not ask again
        peer = ["peer", "name", "eth0", "address", card, "netns", machine]
        _ip("link", "add", name, "netns", switch, "type", "veth", *peer)
        _ip("link", "set", name, "master", "bridge", "up", inside=self._switch)
        self._say(self.machines[name], "go")

    def _await_ready(self, name: str) -> None:
        stdout = self.machines[name].stdout
        assert stdout is not None
        if stdout.readline() != "ready\n":
            raise RuntimeError(f"machine {name} did not start: {(self.folder / f'{name}.errors').read_text()}")

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


def _environment(process: Path) -> dict[str, str]:
    """What a process was started with, from its folder in /proc."""
    words = (process / "environ").read_text(errors="replace").split("\0")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _is_rank(variables: dict[str, str], process: Path) -> bool:
    """Whether this is the very process of a job step's rank: neither a child of it nor a batch script."""
    if "SLURM_STEP_ID" not in variables:
        return False
    status = (process / "status").read_text()
    within = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]
    return variables["SLURM_TASK_PID"] == within


def _names(variables: dict[str, str]) -> set[str]:
    """By which ids a person may call the job of a process."""
    array, task = variables.get("SLURM_ARRAY_JOB_ID", ""), variables.get("SLURM_ARRAY_TASK_ID")
    return {variables["SLURM_JOB_ID"]} if not array else {array, f"{array}_{task}"}
