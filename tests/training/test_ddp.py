"""Two processes compute what one process computes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torch.nn.parallel import DistributedDataParallel

from vaelab.distributions.normal import DiagonalNormal
from vaelab.training.ddp import LAUNCHER_VARIABLES, ddp_process_group


def test_environment_variables_are_restored_after_a_job(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "7")
    with ddp_process_group():
        os.environ.update(dict.fromkeys(LAUNCHER_VARIABLES, "1"))
    assert "LOCAL_RANK" not in os.environ
    assert os.environ["WORLD_SIZE"] == "7"


QUICK = ("logger=csv", "samples=2", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_runs_of_one_and_two_processes_end_with_the_same_numbers(shell, tmp_path):
    words = [
        "optimizer.lr=1e-30",
        "data.batch_size=64",
        "trainer.max_epochs=1",
        "model.hidden=[16]",
    ]
    numbers = []
    for trainer in ("default", "ddp"):
        folder = tmp_path / trainer
        shell("train.py", f"trainer={trainer}", f"hydra.run.dir={folder}", *words, *QUICK)
        numbers.append(json.loads((folder / "metrics.json").read_text()))
    one, two = numbers
    for name in ("elbo", "reconstruction", "kl", "nll", "nll_se", "rmse", "val_elbo"):
        assert two[name] == pytest.approx(one[name], rel=1e-5), name
    assert two["kl_per_dimension"] == pytest.approx(one["kl_per_dimension"], rel=1e-5)
    assert two["active_units"] == one["active_units"]
    assert two["steps"] == one["steps"] == 63
    files = [_list_files(tmp_path / trainer) for trainer in ("default", "ddp")]
    assert files[0] == files[1]
    for name in files[0]:
        if name.endswith(".png") and "curves" not in name:  # training curves differ in their noise
            images = [Image.open(tmp_path / trainer / name) for trainer in ("default", "ddp")]
            first, second = (np.asarray(image.convert("RGB"), float) for image in images)
            assert np.abs(first - second).mean() < 0.5, name


def _list_files(folder):
    """Return the paths of all files in a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_process_without_an_evaluation_batch_takes_part(shell, tmp_path):
    words = ["trainer=ddp", "model=conv", "data.batch_size=1000", "trainer.max_epochs=1"]
    shell("train.py", *words, *QUICK)
    (path,) = tmp_path.glob("runs/*/metrics.json")
    assert json.loads(path.read_text())["images"] == 500


@pytest.mark.slow
def test_weight_averaging_and_an_optimal_scale_work_under_ddp(shell, tmp_path):
    words = ["callbacks=[default,ema]", "loss=gaussian", "loss.scale=optimal", "model.hidden=[8]"]
    shell("train.py", "trainer=ddp", "trainer.max_epochs=1", *words, *QUICK)
    (path,) = tmp_path.glob("runs/*/metrics.json")
    assert 0 < json.loads(path.read_text())["decoder_scale"] < 1


@pytest.mark.slow
def test_multirun_under_ddp_runs_each_job_once_with_its_own_overrides(shell, tmp_path):
    words = ["-m", "trainer=ddp", "seed=3,4", "trainer.max_epochs=1", "model.hidden=[4]"]
    shell("train.py", *words, *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    seeds = [json.loads((sweep / job / "metrics.json").read_text())["seed"] for job in "01"]
    assert seeds == [3, 4]
    assert (sweep / "table.csv").read_text().count("\n") == 3


def save_gradients(rank, world, choice, port, folder):
    """Save the gradient of a training step without noise, on this process's part of a batch.

    Arguments:
        world: The number of processes.
        choice: The overrides of the config.
        port: The port of the process group.
    """
    from hydra import compose, initialize_config_dir

    from vaelab.data.base import TrainingBatches
    from vaelab.runs.run import RunParts

    DiagonalNormal.rsample = lambda q, size=(): q.loc.expand(*size, *q.loc.shape)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = ["data.binarize=fixed", "model.hidden=[16]", "latent_dim=3"]
        run = RunParts.build(compose("train", [*choice.split(), *words]))
    run.data.setup()
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    step = TrainingLoss(run)
    model = DistributedDataParallel(step) if world > 1 else step
    batches = TrainingBatches(run.data.splits["train"], 96, 0, rank, world)
    x = run.data.prepare(list(batches)[-1][0])  # the last batch, which is smaller
    model(x).backward()
    if rank == 0:
        torch.save([weight.grad for weight in step.parameters()], folder / f"{world}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


class TrainingLoss(torch.nn.Module):
    """The mean loss of a run's objective."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.vae, self.objective = run.vae, run.module.objective

    def forward(self, x):
        return self.objective(self.vae, x, 0)["loss"].mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        "loss=bce",
        "loss=mse",
        "loss=gaussian",
        "loss=gaussian loss.scale=optimal",
        "objective=piwae",
        "objective=ms_ssim",
        "objective=rae posterior=deterministic",
    ],
)
def test_gradient_of_two_processes_equals_that_of_one_without_noise(
    choice, tmp_path, free_port, monkeypatch
):
    monkeypatch.setattr(DiagonalNormal, "rsample", DiagonalNormal.rsample)  # so that it is restored
    save_gradients(0, 1, choice, free_port, tmp_path)
    torch.multiprocessing.spawn(save_gradients, (2, choice, free_port, tmp_path), nprocs=2)
    one, two = (torch.load(tmp_path / f"{world}.pt") for world in (1, 2))
    for first, second in zip(one, two, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def save_evaluation(rank, world, port, folder):
    """Save the numbers that one of several processes computes, each with another random state."""
    from hydra import compose, initialize_config_dir

    from vaelab.evaluation import neighbours, samples
    from vaelab.evaluation.base import EvaluationConfig
    from vaelab.runs.run import RunParts
    from vaelab.samplers.gmm import GMMSampler

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        run = RunParts.build(compose("train", ["model.hidden=[8]", "latent_dim=3"]))
    run.data.setup()
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    torch.manual_seed(rank)
    config = EvaluationConfig(images=300, sampler=GMMSampler(components=2), folder=folder)
    numbers = samples.evaluate(run, config) | neighbours.evaluate(run, config)
    (folder / f"{world}-{rank}.json").write_text(json.dumps(numbers))
    if world > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_same_fid_and_nearest_images_as_one(tmp_path, free_port):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    save_evaluation(0, 1, free_port, folders[0])
    torch.multiprocessing.spawn(save_evaluation, (2, free_port, folders[1]), nprocs=2)
    one = json.loads((folders[0] / "1-0.json").read_text())
    assert one["fid"] > one["fid_floor"] > 0
    for name in ("2-0", "2-1"):
        assert json.loads((folders[1] / f"{name}.json").read_text()) == one


OBJECTIVES = ["dreg", "piwae", "beta_tc", "dip", "wae_mmd", "ms_ssim", "factor", "aae", "vae_gan"]
OBJECTIVES += ["perceptual"]


@pytest.mark.slow
def test_objectives_with_critics_or_batch_statistics_train_under_ddp(shell, tmp_path):
    words = ["-m", "trainer=ddp", f"objective={','.join(OBJECTIVES)}", "model.hidden=[8]"]
    shell("train.py", *words, "trainer.max_epochs=1", "trainer.limit_train_batches=3", *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    for job in range(len(OBJECTIVES)):
        numbers = json.loads((sweep / str(job) / "metrics.json").read_text())
        assert numbers["steps"] == 3
        assert numbers["rmse"] < 0.35


MODELS = ["resnet", "ladder", "ladder_conv", "deep", "bottom_up", "vq", "gumbel", "conditional"]


@pytest.mark.slow
def test_every_kind_of_model_trains_under_ddp(shell, tmp_path):
    words = ["-m", "trainer=ddp", f"model={','.join(MODELS)}", "data.batch_size=32"]
    shell("train.py", *words, "trainer.max_epochs=1", "trainer.limit_train_batches=3", *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    for job in range(len(MODELS)):
        numbers = json.loads((sweep / str(job) / "metrics.json").read_text())
        assert numbers["steps"] == 3
        assert numbers["rmse"] < 0.4


QUANTIZERS = "fsq,lfq,residual_vq"


@pytest.mark.slow
def test_every_quantizer_trains_under_ddp(shell, tmp_path):
    words = ["-m", "trainer=ddp", "model=vq", "model.dim=8", f"posterior={QUANTIZERS}"]
    words += ["model.channels=8", "trainer.limit_val_batches=2", "evaluate.images=20"]
    words += ["data.batch_size=32", "trainer.max_epochs=1", "trainer.limit_train_batches=3"]
    shell("train.py", *words, *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    for job in range(3):
        numbers = json.loads((sweep / str(job) / "metrics.json").read_text())
        assert numbers["steps"] == 3
        assert numbers["rmse"] < 0.4


DIFFERING = ("parts", "wall_s", "command", "git", "versions")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (
            "model.hidden=[8] latent_dim=3",
            "likelihood,generalisation,latents,reconstructions,samples,neighbours,codes",
        ),
        ("model.hidden=[8] latent_dim=3", "gaps"),
        (
            "data=sprites data.shape=[1,16,16] data.angles=4 data.positions=8 model.hidden=[8]",
            "disentanglement",
        ),
    ],
)
def test_evaluation_under_torchrun_gives_the_numbers_of_one_process(shell, tmp_path, words, parts):
    """The processes have unequal numbers of images: 150 images are three batches of 64."""
    words = [*words.split(), "data.batch_size=64", "trainer.max_epochs=1", *QUICK]
    shell("train.py", "hydra.run.dir=one", "~callbacks.pictures", *words)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    images = "10" if parts == "gaps" else "150"
    options = ["--parts", parts, "--images", images, "--samples", "3"]
    shell("scripts/evaluate.py", "one", *options)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*launcher, "--standalone", str(ROOT / "scripts" / "evaluate.py"), "two", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    paths = [next((tmp_path / name).glob("evaluation/*/numbers.json")) for name in ("one", "two")]
    one, two = (json.loads(path.read_text()) for path in paths)
    assert one.keys() == two.keys()
    for name in one:
        if not name.endswith(DIFFERING):
            assert _is_close(two[name], one[name]), name
    assert _list_files(tmp_path / "one") == _list_files(tmp_path / "two")


def _is_close(one, two):
    if isinstance(one, list):
        return len(one) == len(two) and all(map(_is_close, one, two))
    return one == (pytest.approx(two, rel=1e-4, abs=1e-6) if isinstance(two, float) else two)


@pytest.fixture
def training(tmp_path):
    """A training by two processes: the first process, and the id of the second."""
    words = ["trainer=ddp", "hydra.run.dir=run", "trainer.max_epochs=1000", "model.hidden=[16]"]
    words += ["data.batch_size=64", "~callbacks.pictures", *QUICK]
    command = [sys.executable, str(ROOT / "train.py"), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        for _ in range(1200):
            if last.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        yield process, _find_child(process.pid)
        if process.poll() is None:
            process.kill()


def _get_state(pid):
    """Return the state of a process and the id of its parent; X for one that has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return state, int(parent)


def _find_child(pid):
    """Return the id of the training process that a process has started."""
    for path in Path("/proc").glob("[0-9]*"):
        if _get_state(path.name)[1] == pid and b"hydra.run.dir" in (path / "cmdline").read_bytes():
            return int(path.name)
    raise ProcessLookupError(f"{pid} has no child")


def _has_ended(pid, seconds=60):
    """True if a process ends within some seconds."""
    for _ in range(10 * seconds):
        if _get_state(pid)[0] in "XZ":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize("which", ["first", "second"])
def test_all_processes_end_if_one_is_killed(training, which):
    process, child = training
    os.kill(process.pid if which == "first" else child, signal.SIGKILL)
    assert _has_ended(child)
    assert process.wait(60) != 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_two_stopped_processes_resume_bit_for_bit(training, tmp_path, shell):
    process, child = training
    process.terminate()
    assert process.wait(120) == 143
    assert _has_ended(child)
    step = _load_last_checkpoint(tmp_path / "run")["global_step"]
    end = ["trainer.max_epochs=-1", f"trainer.max_steps={step + 70}"]
    shell("train.py", "resume=run", *end)
    words = ["trainer=ddp", "hydra.run.dir=uninterrupted", *end, "model.hidden=[16]"]
    shell("train.py", *words, "data.batch_size=64", "~callbacks.pictures", *QUICK)
    one = _load_last_checkpoint(tmp_path / "run")
    two = _load_last_checkpoint(tmp_path / "uninterrupted")
    assert one["global_step"] == two["global_step"] == step + 70
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name


def _load_last_checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
