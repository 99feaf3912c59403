"""Every kind of run has its figures, and the terminal shows why others are skipped."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_celeba import write_celeba
from tiny import (
    BOTTOM_UP,
    CONDITIONAL,
    DEEP,
    GUMBEL,
    LADDER,
    MLP,
    PLANE,
    RESIDUAL_VQ,
    SPHERE,
    TINY,
    TRANSFORMER,
    VQ,
)

from vaelab.figures.run_figures import FIGURES, LADDER_FIGURES, TABLE_FIGURES, draw_all_figures
from vaelab.runs.run import RunParts

INTERPOLATIONS = {"traversals", "walks"}
KL_PER_DIMENSION = {"kl_per_dimension"}
SMALL_CONV = ("model=conv", "model.channels=[4,8]", "latent_dim=3")
KINDS = {
    "mlp": (TINY, set()),
    "conv": (SMALL_CONV, set()),
    "resnet": (("model=resnet", "model.channels=[4,8]", "latent_dim=3"), set()),
    "ladder": (LADDER, set()),
    "deep": (DEEP, set()),
    "conditional deep": ((*DEEP, "model.labels=10"), set()),
    "bottom_up": (BOTTOM_UP, set()),
    "residual_vq": ((*RESIDUAL_VQ, *TRANSFORMER), INTERPOLATIONS | KL_PER_DIMENSION),
    "vq": (VQ, INTERPOLATIONS | KL_PER_DIMENSION),
    "pixelcnn": ((*VQ, "prior=pixelcnn", "prior.channels=4"), INTERPOLATIONS | KL_PER_DIMENSION),
    "gumbel": (("model=gumbel", *MLP), INTERPOLATIONS),
    "real and categorical": (GUMBEL, {"walks"}),
    "conditional": (CONDITIONAL, set()),
    "label-conditional prior": (
        ("model=conditional", *PLANE, "model.learned_prior=true"),
        set(),
    ),
    "vmf": (SPHERE, KL_PER_DIMENSION),
    "circle": ((*PLANE, "posterior=vmf"), KL_PER_DIMENSION),
    "iaf": ((*TINY, "posterior=iaf"), KL_PER_DIMENSION),
    "full": ((*PLANE, "posterior=full"), KL_PER_DIMENSION),
    "mixture": ((*PLANE, "prior=mixture"), KL_PER_DIMENSION),
    "vamp": ((*TINY, "prior=vamp", "prior.components=5"), KL_PER_DIMENSION),
    "flow": ((*PLANE, "prior=flow"), KL_PER_DIMENSION),
    "one dimension": ((*MLP, "latent_dim=1"), {"map"}),
    "autoencoder": ((*PLANE, "objective=autoencoder"), KL_PER_DIMENSION),
    "adversarial": ((*TINY, "objective=aae"), set()),
    "bound": ((*TINY, "objective=iwae", "objective.samples=2"), set()),
    "levels": ((*TINY, "loss=discretized_logistic", "data.binarize=none"), set()),
}


def list_skipped(output):
    """Return the names of the figures that the terminal output reports as skipped."""
    lines = [line for line in output.splitlines() if line.startswith("skipped ")]
    names = [line.removeprefix("skipped ").split(": ")[0].split(", ") for line in lines]
    return {name for part in names for name in part}


def check_figures(folder, output, skipped, is_table=False, has_layers=False):
    assert list_skipped(output) == skipped
    paths = {path.stem: path for path in (folder / "figures").glob("*.png")}
    absent = (set() if is_table else {*TABLE_FIGURES}) | (
        set() if has_layers else {*LADDER_FIGURES}
    )
    assert paths.keys() == FIGURES.keys() - skipped - absent
    for path in paths.values():
        with Image.open(path) as image:
            assert min(image.size) > 50
            assert len(image.convert("RGB").getcolors(2**24) or ()) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_its_figures(kind, train, command, capfd):
    words, skipped = KINDS[kind]
    folder = train(*words, "callbacks.pictures.only=null", "logger=csv")["folder"]
    has_layers = kind in ("ladder", "deep", "conditional deep")
    check_figures(folder, capfd.readouterr().out, skipped, has_layers=has_layers)
    before = {path: path.read_bytes() for path in (folder / "figures").glob("*.png")}
    status, output = command("scripts/figures.py", str(folder))
    assert status == 0, output
    check_figures(folder, output, skipped, has_layers=has_layers)
    assert all(path.read_bytes() == old for path, old in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["none", "classes", "attributes", "measurements"])
def test_tables_and_images_with_any_labels_have_their_figures(labels, train, tmp_path, capfd):
    rng = np.random.default_rng(0)
    y = {
        "none": {},
        "classes": {"y": np.arange(200) % 25},
        "attributes": {"y": rng.integers(0, 2, (200, 3))},
        "measurements": {"y": rng.normal(size=200)},
    }[labels]
    words = (*TINY, "data=arrays", f"data.path={tmp_path}/x.npz", "logger=csv")
    words = (*words, "callbacks.pictures.only=null", "loss=gaussian")
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(200, 5)), **y)
    folder = train(*words, folder="table")["folder"]
    check_figures(folder, capfd.readouterr().out, INTERPOLATIONS, is_table=True)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(200, 3, 8, 12)), **y)
    check_figures(train(*words, folder="pictures")["folder"], capfd.readouterr().out, set())


@pytest.mark.slow
def test_conditional_model_with_attributes_has_its_figures(train, tmp_path, capfd):
    write_celeba(tmp_path)
    words = ("data=celeba", f"data.root={tmp_path}", "data.shape=[3,12,8]", "loss=mse")
    words = (*CONDITIONAL, "model.labels=4", *words, "callbacks.pictures.only=null", "logger=csv")
    folder = train(*words)["folder"]
    skipped = list_skipped(capfd.readouterr().out)
    assert skipped <= {"map", "walks"}  # there are four test images
    check_figures(folder, "skipped " + ", ".join(skipped) + ": few" if skipped else "", skipped)


@pytest.fixture
def folder(finished_run):
    return finished_run(*TINY, "callbacks.pictures.only=[]")["folder"]


def test_only_requested_figures_are_drawn_in_the_requested_format(folder, command):
    words = ("--only", "map", "aggregate", "--format", "svg")
    status, output = command("scripts/figures.py", str(folder), *words)
    assert status == 0, output
    paths = [folder / "figures" / f"{name}.svg" for name in ("map", "aggregate")]
    assert output.split() == [str(path) for path in [*paths, folder / "report.html"]]
    assert sorted(folder.glob("figures/*.*g")) == sorted(paths)


def test_skipped_figures_are_reported_with_the_reason(folder, command):
    status, output = command("scripts/figures.py", str(folder), "--only", "curves")
    assert status == 0
    assert output.splitlines()[0].startswith("skipped curves: metrics.csv has no curves")


def test_unknown_figure_is_refused_with_the_nearest_name(folder, command):
    status, _ = command("scripts/figures.py", str(folder), "--only", "mpa")
    message = f"unknown figure mpa (did you mean map?): choose from {', '.join(FIGURES)}"
    assert status == f"error: {message}"


def test_folder_without_a_run_is_refused(tmp_path, command):
    status, _ = command("scripts/figures.py", str(tmp_path))
    reason = "it has no .hydra/config.yaml and no model.safetensors"
    assert status == f"error: {tmp_path} is not a run folder: {reason}"


@pytest.fixture
def run(config):
    run = RunParts.build(config(*TINY))
    run.data.setup()
    return run


def test_drawing_keeps_the_training_mode(run, tmp_path):
    run.vae.train()
    draw_all_figures(run, tmp_path, ["traversals", "aggregate"])
    assert all(module.training for module in run.vae.modules())


def test_diverged_run_has_the_figures_that_need_no_latents(run, tmp_path, capsys):
    for weight in run.vae.parameters():
        torch.nn.init.constant_(weight, torch.nan)
    assert draw_all_figures(run, tmp_path).keys() == {"reconstructions", "samples"}
    message = "skipped traversals, walks, map, aggregate: the latents of images contain NaN"
    assert message in capsys.readouterr().out
