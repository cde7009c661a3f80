"""Slurm's commands as far as a launch uses them, without a cluster: what is submitted stays in a queue and never runs.

Lives here: `StandIn`. Must not: fixtures, tests.
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# One at a time, as the controller does. An array has a line for each task, as `squeue -r` has.
SBATCH = """#!/bin/bash
exec 9>>{folder}/turn; flock 9
if [ "$1" = --test-only ]; then
    cat >{folder}/tried.sh; echo --test-only >>{folder}/sbatch.calls
    [ ! -f {folder}/refusal ] || {{ cat {folder}/refusal >&2; exit 1; }}
    exit 0
fi
echo "$@" >>{folder}/sbatch.calls; env >>{folder}/environment
name=$(sed -n 's/^#SBATCH --job-name=//p' "$1"); nodes=$(sed -n 's/^#SBATCH --nodes=//p' "$1")
if [ -f {folder}/fails_for ] && echo "$name" | grep -q -f {folder}/fails_for; then
    echo "sbatch: error: Socket timed out" >&2; exit 1
fi
n=$(($(cat {folder}/count 2>/dev/null || echo 0) + 1))
echo $n >{folder}/count; n=$((100 + n)); cp "$1" {folder}/$n.sh
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for id in $([ -z "$last" ] && echo $n || seq -f "${{n}}_%g" 0 "$last"); do
    echo "$id|$name|PENDING|$nodes|Priority|$(cat {folder}/user)" >>{folder}/queue
done
echo "Submitted batch job $n"
"""
SQUEUE = "#!/bin/sh\ncat {folder}/queue\n"
SCANCEL = """#!/bin/sh
echo "$@" >>{folder}/scancel.calls
shift; for id in "$@"; do sed -i "/^$id|.*|PENDING|/d" {folder}/queue; done
"""
SINFO = "#!/bin/sh\ncat {folder}/nodes\n"
SCONTROL = """#!/bin/sh
case "$1 $2" in
    "show config") printf 'Configuration data as of today\\nMaxArraySize            = 11\\nPrologFlags = (null)\\n' ;;
    "show hostnames") echo n1 ;;
    requeue*) echo "$2" >>{folder}/requeued ;;
esac
"""
SRUN = "#!/bin/sh\n"


@dataclass(frozen=True)
class StandIn:
    """`folder` is put on the PATH. Arrays have at most ten tasks. Jobs get the ids 101, 102, ..."""

    folder: Path
    user: str = "ana"

    def install(self) -> None:
        self.folder.mkdir()
        programs = {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL, "sinfo": SINFO, "scontrol": SCONTROL}
        for name, text in {**programs, "srun": SRUN}.items():
            self.replace(name, text.format(folder=self.folder))
        for name, text in {"queue": "", "nodes": "gpu|gpu:h100:8\ncpu|(null)\n", "user": f"{self.user}\n"}.items():
            (self.folder / name).write_text(text)

    def replace(self, program: str, text: str) -> None:
        """Let a program do something else."""
        (self.folder / program).write_text(text)
        (self.folder / program).chmod(stat.S_IRWXU)

    def texts(self) -> dict[str, str]:
        """Every batch file that was accepted, by the job's id."""
        return {path.stem: path.read_text() for path in sorted(self.folder.glob("[0-9]*.sh"))}

    def calls(self, program: str) -> list[str]:
        """Arguments of all calls of sbatch or scancel."""
        path = self.folder / f"{program}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def queue(self) -> list[str]:
        """Ids of the jobs that wait or run."""
        return [line.partition("|")[0] for line in (self.folder / "queue").read_text().splitlines()]

    def start(self, *ids: str) -> None:
        """Jobs are running from now on."""
        self._edit(lambda line: line.replace("|PENDING|", "|RUNNING|") if line.partition("|")[0] in ids else line)

    def end(self, *ids: str) -> None:
        """Jobs leave the queue, however they ended."""
        self._edit(lambda line: "" if line.partition("|")[0] in ids else line)

    def reason(self, why: str, *ids: str) -> None:
        """Why jobs wait, from now on."""
        self._edit(lambda line: line.replace("|Priority|", f"|{why}|") if line.partition("|")[0] in ids else line)

    def give_to(self, user: str) -> None:
        """The whole queue is another user's."""
        self._edit(lambda line: line.replace(f"|{self.user}\n", f"|{user}\n"))

    def _edit(self, change: Callable[[str], str]) -> None:
        path = self.folder / "queue"
        path.write_text("".join(map(change, path.read_text().splitlines(keepends=True))))
