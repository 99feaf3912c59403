"""Two processes give what one process gives."""

import json
import os

import pytest
import torch
from conftest import ROOT
from torch.nn.parallel import DistributedDataParallel

from vaelab.ddp import VARIABLES, process_group
from vaelab.distributions.normal import DiagonalNormal


def test_the_environment_of_a_job_ends_with_it(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "7")
    with process_group():
        os.environ.update(dict.fromkeys(VARIABLES, "1"))
    assert "LOCAL_RANK" not in os.environ
    assert os.environ["WORLD_SIZE"] == "7"


QUICK = ("logger=csv", "samples=2", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_two_processes_evaluate_to_one_process_numbers(shell, tmp_path):
    still = ["optimizer.lr=0", "data.batch_size=64", "trainer.max_epochs=1", "model.hidden=[16]"]
    numbers = []
    for trainer in ("default", "ddp"):
        folder = tmp_path / trainer
        shell("train.py", f"trainer={trainer}", f"hydra.run.dir={folder}", *still, *QUICK)
        numbers.append(json.loads((folder / "metrics.json").read_text()))
    one, two = numbers
    for name in ("elbo", "reconstruction", "kl", "nll", "nll_se", "rmse", "val_elbo"):
        assert two[name] == pytest.approx(one[name], rel=1e-5), name
    assert two["kl_per_dimension"] == pytest.approx(one["kl_per_dimension"], rel=1e-5)
    assert two["active_units"] == one["active_units"]
    assert two["steps"] == one["steps"] == 63


@pytest.mark.slow
def test_a_process_without_an_evaluation_batch_takes_part(shell, tmp_path):
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
def test_a_multirun_under_ddp_runs_each_job_once_with_its_own_choices(shell, tmp_path):
    words = ["-m", "trainer=ddp", "seed=3,4", "trainer.max_epochs=1", "model.hidden=[4]"]
    shell("train.py", *words, *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    seeds = [json.loads((sweep / job / "metrics.json").read_text())["seed"] for job in "01"]
    assert seeds == [3, 4]
    assert (sweep / "table.csv").read_text().count("\n") == 3


def gradients(rank, world, choice, port, folder):
    """One training step's gradient without noise, on this process's share of each batch."""
    from hydra import compose, initialize_config_dir

    from vaelab.data.base import TrainingBatches
    from vaelab.run import Run

    DiagonalNormal.rsample = lambda q, size=(): q.loc.expand(*size, *q.loc.shape)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = ["data.binarize=fixed", "model.hidden=[16]", "latent_dim=3"]
        run = Run.build(compose("train", [*choice.split(), *words]))
    run.data.setup()
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    step = Step(run)
    trained = DistributedDataParallel(step) if world > 1 else step
    batches = TrainingBatches(run.data.splits["train"], 96, 0, rank, world)
    x = run.data.prepare(list(batches)[-1][0])  # the last batch, which is smaller
    trained(x).backward()
    if rank == 0:
        torch.save([weight.grad for weight in step.parameters()], folder / f"{world}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


class Step(torch.nn.Module):
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
def test_without_noise_two_processes_have_one_process_gradient(
    choice, tmp_path, free_port, monkeypatch
):
    monkeypatch.setattr(DiagonalNormal, "rsample", DiagonalNormal.rsample)  # to have it back
    gradients(0, 1, choice, free_port, tmp_path)
    torch.multiprocessing.spawn(gradients, (2, choice, free_port, tmp_path), nprocs=2)
    one, two = (torch.load(tmp_path / f"{world}.pt") for world in (1, 2))
    for first, second in zip(one, two, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def evaluated(rank, world, port, folder):
    """What one process of several finds, whose own random state nothing may depend on."""
    from hydra import compose, initialize_config_dir

    from vaelab.evaluation import neighbours, samples
    from vaelab.evaluation.base import Asked
    from vaelab.run import Run
    from vaelab.samplers.gmm import GMM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        run = Run.build(compose("train", ["model.hidden=[8]", "latent_dim=3"]))
    run.data.setup()
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    torch.manual_seed(rank)
    asked = Asked(images=300, sampler=GMM(components=2), folder=folder)
    numbers = samples.evaluate(run, asked) | neighbours.evaluate(run, asked)
    (folder / f"{world}-{rank}.json").write_text(json.dumps(numbers))
    if world > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_find_what_one_finds_of_samples_and_their_neighbours(tmp_path, free_port):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    evaluated(0, 1, free_port, folders[0])
    torch.multiprocessing.spawn(evaluated, (2, free_port, folders[1]), nprocs=2)
    one = json.loads((folders[0] / "1-0.json").read_text())
    assert one["fid"] > one["fid_floor"] > 0
    for name in ("2-0", "2-1"):
        assert json.loads((folders[1] / f"{name}.json").read_text()) == one


OBJECTIVES = ["dreg", "piwae", "beta_tc", "dip", "wae_mmd", "ms_ssim", "factor", "aae", "vae_gan"]


@pytest.mark.slow
def test_objectives_with_critics_batches_and_fixed_sides_train_under_ddp(shell, tmp_path):
    words = ["-m", "trainer=ddp", f"objective={','.join(OBJECTIVES)}", "model.hidden=[8]"]
    shell("train.py", *words, "trainer.max_epochs=1", "trainer.limit_train_batches=3", *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    for job in range(len(OBJECTIVES)):
        numbers = json.loads((sweep / str(job) / "metrics.json").read_text())
        assert numbers["steps"] == 3
        assert numbers["rmse"] < 0.35


MODELS = ["resnet", "ladder", "ladder_conv", "bottom_up", "vq", "gumbel", "conditional"]


@pytest.mark.slow
def test_every_kind_of_model_trains_under_ddp(shell, tmp_path):
    words = ["-m", "trainer=ddp", f"model={','.join(MODELS)}", "data.batch_size=32"]
    shell("train.py", *words, "trainer.max_epochs=1", "trainer.limit_train_batches=3", *QUICK)
    (sweep,) = (tmp_path / "multirun").iterdir()
    for job in range(len(MODELS)):
        numbers = json.loads((sweep / str(job) / "metrics.json").read_text())
        assert numbers["steps"] == 3
        assert numbers["rmse"] < 0.4
