"""On a real Slurm of two nodes: the queue for a multirun, and two machines for one run."""

import json
import os
import re
import shlex
import subprocess
import sys
import time

import pytest
import slurm_cluster as slurm
from conftest import ROOT
from test_resume import assert_same
from test_scale import PAGE, QUICK, SLURM, jobs, quick

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm.missing()),
        reason=f"{', '.join(slurm.missing())}: not here; Debian's slurm-wlm and munge have them",
    ),
]
ARRAY, SRUN, SBATCH = SLURM


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster") as variables:
        yield variables


def run(cluster, folder, *words):
    """A command of the page: exit status and output."""
    done = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | cluster,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def python(line):
    """The words of a line of the page, for this python and little work."""
    before = shlex.split(line.partition("python ")[0])
    script, *words = quick(line)
    return [*before, sys.executable, str(ROOT / script), *words]


def test_the_jobs_of_a_multirun_are_jobs_of_the_queue(cluster, tmp_path):
    words = [*python(ARRAY), "hydra.sweep.dir=multirun/here"]
    words = [word.replace("latent_dim=2,8", "latent_dim=2,0,3") for word in words]
    status, output = run(cluster, tmp_path, *words)
    assert status == 1
    folder, rows = jobs(tmp_path)
    assert [row["failed"] for row in rows] == ["", "", "latent_dim=0: it must be at least 1"]
    assert len(list(folder.glob(".submitit/*/*log.out"))) == 3
    before = (folder / "2" / "metrics.json").read_bytes()
    status, output = run(cluster, tmp_path, *words)
    assert status == 1, output
    assert (folder / "2" / "metrics.json").read_bytes() == before
    logs = "".join(path.read_text() for path in folder.glob(".submitit/*/*log.out"))
    assert logs.count("was finished before") == 2


def test_two_machines_give_what_two_processes_give(cluster, tmp_path):
    status, output = run(cluster, tmp_path, *python(SRUN))
    assert status == 0, output
    assert output.count("distributed_backend=gloo") == 1
    one = [sys.executable, str(ROOT / "train.py"), "trainer=ddp", "hydra.run.dir=runs/one", *QUICK]
    status, output = run({}, tmp_path, *one)
    assert status == 0, output
    both = [
        json.loads((tmp_path / f"runs/{name}/metrics.json").read_text()) for name in ("one", "two")
    ]
    for name in ("elbo", "nll", "val_elbo", "steps"):
        assert both[0][name] == pytest.approx(both[1][name], rel=1e-6), name
    assert (tmp_path / "runs/two/.hydra/config.yaml").exists()


def test_several_machines_must_be_told_one_folder(cluster, tmp_path):
    words = [word for word in python(SRUN) if not word.startswith("hydra.run.dir")]
    status, output = run(cluster, tmp_path, *words)
    assert status == 1
    assert "the processes of one run share its folder" in output
    assert list(tmp_path.iterdir()) == []


def test_several_machines_without_srun_are_refused(tmp_path):
    words = python(SRUN)[3:]
    status, output = run({}, tmp_path, *words)
    assert status == 1
    assert "error: trainer.num_nodes=2 machines need srun or torchrun" in output


LONG = ["data.batch_size=20", "logger=csv", "samples=2", "callbacks.pictures.only=[]"]
LONG += ["model.hidden=[16]", "trainer.max_epochs=4", "trainer.accelerator=cpu"]


@pytest.fixture
def script(tmp_path):
    """The job script of the page, for this python and a short run, as `job.sh`."""
    (text,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    start = f"{sys.executable} {ROOT}/"
    text = text.replace("python ", start)
    lines = [
        f"{line} {shlex.join(LONG)}" if "train.py" in line else line for line in text.splitlines()
    ]
    assert sum("train.py" in line for line in lines) == 1
    (tmp_path / "job.sh").write_text("\n".join([*lines, ""]))


def wait_for(done, cluster, logs):
    deadline = time.monotonic() + 240
    while not done():
        if time.monotonic() > deadline:
            text = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs)
            raise TimeoutError(slurm.ask(cluster, "squeue") + text)
        time.sleep(0.1)


@pytest.mark.parametrize(
    "stop", [["scancel", "--signal=USR1"], ["scontrol", "requeue"]], ids=["signal", "requeue"]
)
def test_a_job_that_gives_way_ends_in_the_bits_of_the_whole_run(cluster, tmp_path, script, stop):
    whole = [sys.executable, str(ROOT / "train.py"), "trainer=ddp", "hydra.run.dir=whole", *LONG]
    status, output = run({}, tmp_path, *whole)
    assert status == 0, output
    status, output = run(cluster, tmp_path, *shlex.split(SBATCH))
    assert status == 0, output
    job, folder = output.split()[-1], tmp_path / "runs" / "long"
    log = [tmp_path / f"slurm-{job}.out"]
    wait_for((folder / "checkpoints" / "last.ckpt").exists, cluster, [])
    slurm.ask(cluster, *stop, job)
    wait_for((folder / "metrics.json").exists, cluster, log)
    numbers = json.loads((folder / "metrics.json").read_text())
    assert len(numbers["resumed"]) == 1
    assert "Restarts=1" in slurm.ask(cluster, "scontrol", "show", "job", job)
    assert_same(folder, tmp_path / "whole")
    wait_for(lambda: not slurm.ask(cluster, "squeue", "-h"), cluster, log)


def test_a_job_of_a_multirun_that_gives_way_ends_in_the_bits_of_the_whole(cluster, tmp_path):
    status, output = run(
        {}, tmp_path, sys.executable, str(ROOT / "train.py"), "hydra.run.dir=whole", *LONG
    )
    assert status == 0, output
    words = [word for word in python(ARRAY) if word not in QUICK and "latent_dim" not in word]
    words += ["hydra.sweep.dir=multirun/here", *LONG]
    with subprocess.Popen(words, cwd=tmp_path, env=os.environ | cluster) as sweep:
        folder = tmp_path / "multirun" / "here"
        wait_for((folder / "0" / "checkpoints" / "last.ckpt").exists, cluster, [])
        job = slurm.ask(cluster, "squeue", "-h", "-o", "%A")
        slurm.ask(cluster, "scancel", "--signal=USR2", job)
        logs = list(folder.glob(".submitit/*/*log.err"))
        wait_for((folder / "0" / "value.txt").exists, cluster, logs)
        assert sweep.wait(120) == 0
    assert len(json.loads((folder / "0" / "metrics.json").read_text())["resumed"]) == 1
    assert_same(folder / "0", tmp_path / "whole")
