"""Multiruns in the queue of a real Slurm of two nodes, runs on both nodes, and requeued jobs."""

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
from test_resume import assert_same_run
from test_scale import PAGE, QUICK, SLURM, read_job_table, shorten_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm.missing_programs()),
        reason=f"{', '.join(slurm.missing_programs())} missing: apt install slurm-wlm munge",
    ),
]
ARRAY, SRUN, SBATCH = SLURM


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.run_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as variables:
        yield variables


def run(cluster, folder, *words):
    """Run a command of the page; return its exit status and output."""
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


def make_command(line):
    """Return the words of a line of the page, with this Python and settings that make it short."""
    launcher = shlex.split(line.partition("python ")[0])
    script, *words = shorten_command(line)
    return [*launcher, sys.executable, str(ROOT / script), *words]


def test_jobs_of_a_multirun_are_submitted_to_the_queue(cluster, tmp_path):
    words = [*make_command(ARRAY), "hydra.sweep.dir=multirun/here"]
    words = [word.replace("latent_dim=2,8", "latent_dim=2,0,3") for word in words]
    status, output = run(cluster, tmp_path, *words)
    assert status == 1
    folder, rows = read_job_table(tmp_path)
    assert [row["failed"] for row in rows] == ["", "", "latent_dim=0: it must be at least 1"]
    assert len(list(folder.glob(".submitit/*/*log.out"))) == 3
    before = (folder / "2" / "metrics.json").read_bytes()
    status, output = run(cluster, tmp_path, *words)
    assert status == 1, output
    assert (folder / "2" / "metrics.json").read_bytes() == before
    logs = "".join(path.read_text() for path in folder.glob(".submitit/*/*log.out"))
    assert logs.count("has finished before") == 2


def test_two_machines_give_the_numbers_of_two_processes(cluster, tmp_path):
    status, output = run(cluster, tmp_path, *make_command(SRUN))
    assert status == 0, output
    assert output.count("distributed_backend=gloo") == 1
    one = [sys.executable, str(ROOT / "train.py"), "trainer=ddp", "hydra.run.dir=runs/one", *QUICK]
    status, output = run({}, tmp_path, *one)
    assert status == 0, output
    numbers = [
        json.loads((tmp_path / f"runs/{name}/metrics.json").read_text()) for name in ("one", "two")
    ]
    for name in ("elbo", "nll", "val_elbo", "steps"):
        assert numbers[0][name] == pytest.approx(numbers[1][name], rel=1e-6), name
    assert (tmp_path / "runs/two/.hydra/config.yaml").exists()


def test_several_machines_need_a_named_folder(cluster, tmp_path):
    words = [word for word in make_command(SRUN) if not word.startswith("hydra.run.dir")]
    status, output = run(cluster, tmp_path, *words)
    assert status == 1
    assert "the processes of one run share its folder" in output
    assert list(tmp_path.iterdir()) == []


def test_several_machines_without_srun_are_refused(tmp_path):
    words = make_command(SRUN)[3:]
    status, output = run({}, tmp_path, *words)
    assert status == 1
    assert "error: trainer.num_nodes=2: several machines need srun or torchrun" in output


LONG = ["data.batch_size=20", "logger=csv", "samples=2", "callbacks.pictures.only=[]"]
LONG += ["model.hidden=[16]", "trainer.max_epochs=4", "trainer.accelerator=cpu"]


@pytest.fixture
def script(tmp_path):
    """Write the job script of the page as job.sh, with this Python and a short run."""
    (text,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    text = text.replace("python ", f"{sys.executable} {ROOT}/")
    lines = [
        f"{line} {shlex.join(LONG)}" if "train.py" in line else line for line in text.splitlines()
    ]
    assert sum("train.py" in line for line in lines) == 1
    (tmp_path / "job.sh").write_text("\n".join([*lines, ""]))


def wait_for(is_done, cluster, logs):
    deadline = time.monotonic() + 240
    while not is_done():
        if time.monotonic() > deadline:
            text = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs)
            raise TimeoutError(slurm.run_command(cluster, "squeue") + text)
        time.sleep(0.1)


@pytest.mark.parametrize(
    "stop", [["scancel", "--signal=USR1"], ["scontrol", "requeue"]], ids=["signal", "requeue"]
)
def test_requeued_job_resumes_bit_for_bit(cluster, tmp_path, script, stop):
    words = [
        sys.executable,
        str(ROOT / "train.py"),
        "trainer=ddp",
        "hydra.run.dir=uninterrupted",
        *LONG,
    ]
    status, output = run({}, tmp_path, *words)
    assert status == 0, output
    status, output = run(cluster, tmp_path, *shlex.split(SBATCH))
    assert status == 0, output
    job, folder = output.split()[-1], tmp_path / "runs" / "long"
    log = [tmp_path / f"slurm-{job}.out"]
    wait_for((folder / "checkpoints" / "last.ckpt").exists, cluster, [])
    slurm.run_command(cluster, *stop, job)
    wait_for((folder / "metrics.json").exists, cluster, log)
    numbers = json.loads((folder / "metrics.json").read_text())
    assert len(numbers["resumed"]) == 1
    assert "Restarts=1" in slurm.run_command(cluster, "scontrol", "show", "job", job)
    assert_same_run(folder, tmp_path / "uninterrupted")
    wait_for(lambda: not slurm.run_command(cluster, "squeue", "-h"), cluster, log)


def test_requeued_job_of_a_multirun_resumes_bit_for_bit(cluster, tmp_path):
    status, output = run(
        {}, tmp_path, sys.executable, str(ROOT / "train.py"), "hydra.run.dir=uninterrupted", *LONG
    )
    assert status == 0, output
    words = [word for word in make_command(ARRAY) if word not in QUICK and "latent_dim" not in word]
    words += ["hydra.sweep.dir=multirun/here", *LONG]
    with subprocess.Popen(words, cwd=tmp_path, env=os.environ | cluster) as sweep:
        folder = tmp_path / "multirun" / "here"
        wait_for((folder / "0" / "checkpoints" / "last.ckpt").exists, cluster, [])
        job = slurm.run_command(cluster, "squeue", "-h", "-o", "%A")
        slurm.run_command(cluster, "scancel", "--signal=USR2", job)
        logs = list(folder.glob(".submitit/*/*log.err"))
        wait_for((folder / "0" / "value.txt").exists, cluster, logs)
        assert sweep.wait(120) == 0
    assert len(json.loads((folder / "0" / "metrics.json").read_text())["resumed"]) == 1
    assert_same_run(folder / "0", tmp_path / "uninterrupted")
