"""Run a real Slurm cluster of two nodes on this machine, with Debian's slurm-wlm and munge.

Its files are in one folder, and its daemons end with the context.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES = ("n1", "n2")
CONF = """\
ClusterName=vaelab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return the programs of Slurm and munge that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name)]


@contextmanager
def run_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run the cluster inside the context; yield the environment variables that its clients need."""
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    text = CONF.format(
        host=socket.gethostname(), ports=_find_free_ports(3), user=user, folder=folder
    )
    for name in ("state", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    with ExitStack() as stack:
        names = {"key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
        paths = [f"--{option}={folder}/munge.{name}" for option, name in names.items()]
        command = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *paths]
        _start_daemon(stack, command, variables, folder)
        _wait_until(lambda: (folder / "munge.socket").exists(), "munged", folder)
        _start_daemon(stack, ["slurmctld", "-D"], variables, folder)
        for node in NODES:
            _start_daemon(stack, ["slurmd", "-D", "-N", node], variables, folder)
        stack.callback(_cancel_all, variables)
        _wait_until(
            lambda: run_command(variables, "sinfo", "-h", "-o", "%D %t") == "2 idle",
            "slurmd",
            folder,
        )
        yield variables


def run_command(variables: dict[str, str], *words: str) -> str:
    """Return the output of a command of Slurm."""
    done = subprocess.run(
        words, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _start_daemon(
    stack: ExitStack, words: list[str], variables: dict[str, str], folder: Path
) -> None:
    """Start a process that ends with the stack."""
    log = stack.enter_context((folder / f"{words[0]}.{words[-1]}.out".replace("/", "_")).open("w"))
    process = subprocess.Popen(
        words, env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT
    )
    stack.callback(_end_process, process)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cancel_all(variables: dict[str, str]) -> None:
    """Cancel all jobs and wait until they have ended."""
    run_command(variables, "scancel", "--full", "--user", run_command(variables, "id", "-un"))
    deadline = time.monotonic() + 30
    while run_command(variables, "squeue", "-h") and time.monotonic() < deadline:
        time.sleep(0.2)


def _wait_until(is_ready: Callable[[], bool], name: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not is_ready():
        if time.monotonic() > deadline:
            logs = [path.read_text(errors="replace")[-500:] for path in folder.glob("*.log")]
            raise TimeoutError("\n".join([f"{name} does not respond", *logs]))
        time.sleep(0.2)


def _find_free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
