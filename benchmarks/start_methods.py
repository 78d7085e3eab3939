"""What a command costs by how its processes are started: wall time, and the memory of all of them together at its peak.

    python benchmarks/start_methods.py spawn python CREMAD/train-CL.py --sample --workers 4 --out /tmp/new/run

The method is "fork", "spawn" or "forkserver". Memory is the proportional set size of the command and of all that it
has started, as Linux tells it: pages that several share count once. CPU seconds are theirs, of those that live longer
than half a second.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Python imports a module of this name as it starts, in every process.
START_UP = "import multiprocessing; multiprocessing.set_start_method({!r}, force=True)\n"


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int(stat(int(entry.name))[1]), []).append(int(entry.name))
        except OSError:  # it has ended
            pass
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    method, *command = sys.argv[1:]
    peak, cpu, began = 0, {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(START_UP.format(method))
        path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        while process.poll() is None:
            pss = 0
            for pid in tree(process.pid):
                try:
                    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    pss += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                    cpu[pid] = sum(map(int, stat(pid)[11:13])) / os.sysconf("SC_CLK_TCK")
                except OSError:
                    pass
            peak = max(peak, pss)
            time.sleep(0.3)
    print(
        f"{method}: {time.monotonic() - began:.1f} s, CPU {sum(cpu.values()):.0f} s of {len(cpu)} processes, "
        f"PSS {peak / 2**20:.2f} GiB at its peak, exit status {process.returncode}"
    )


if __name__ == "__main__":
    main()
