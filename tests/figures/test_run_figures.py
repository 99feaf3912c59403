"""Every kind of run has its figures, and a line for each reason why one is left out."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_celeba import official
from tiny import BOTTOM_UP, CONDITIONAL, GUMBEL, LADDER, MLP, PLANE, SPHERE, TINY, VQ

from vaelab.figures.run_figures import FIGURES, draw_all_figures
from vaelab.runs.run import Run

PICTURED = {"reconstructions", "samples", "traversals", "walks"}
BETWEEN = {"traversals", "walks"}
BY_DIMENSION = {"kl_per_dimension"}
SMALL_CONV = ("model=conv", "model.channels=[4,8]", "latent_dim=3")
KINDS = {
    "mlp": (TINY, set()),
    "conv": (SMALL_CONV, set()),
    "resnet": (("model=resnet", "model.channels=[4,8]", "latent_dim=3"), set()),
    "ladder": (LADDER, set()),
    "bottom_up": (BOTTOM_UP, set()),
    "vq": (VQ, BETWEEN | BY_DIMENSION),
    "pixelcnn": ((*VQ, "prior=pixelcnn", "prior.channels=4"), BETWEEN | BY_DIMENSION),
    "gumbel": (("model=gumbel", *MLP), BETWEEN),
    "numbers beside categories": (GUMBEL, {"walks"}),
    "conditional": (CONDITIONAL, set()),
    "prior of the label": (
        ("model=conditional", *PLANE, "model.learned_prior=true"),
        set(),
    ),
    "vmf": (SPHERE, BY_DIMENSION),
    "circle": ((*PLANE, "posterior=vmf"), BY_DIMENSION),
    "iaf": ((*TINY, "posterior=iaf"), BY_DIMENSION),
    "full": ((*PLANE, "posterior=full"), BY_DIMENSION),
    "mixture": ((*PLANE, "prior=mixture"), BY_DIMENSION),
    "vamp": ((*TINY, "prior=vamp", "prior.components=5"), BY_DIMENSION),
    "flow": ((*PLANE, "prior=flow"), BY_DIMENSION),
    "one dimension": ((*MLP, "latent_dim=1"), {"map"}),
    "autoencoder": ((*PLANE, "objective=autoencoder"), BY_DIMENSION),
    "adversarial": ((*TINY, "objective=aae"), set()),
    "bound": ((*TINY, "objective=iwae", "objective.samples=2"), set()),
    "levels": ((*TINY, "loss=discretized_logistic", "data.binarize=none"), set()),
}


def missing(output):
    """The figures that a line says are left out."""
    lines = [line for line in output.splitlines() if line.startswith("left out: ")]
    return {name for line in lines for name in line.split(": ")[1].split(", ")}


def check(folder, output, absent):
    assert missing(output) == absent
    paths = {path.stem: path for path in (folder / "figures").glob("*.png")}
    assert paths.keys() == FIGURES.keys() - absent
    for path in paths.values():
        with Image.open(path) as picture:
            assert min(picture.size) > 50
            assert len(picture.convert("RGB").getcolors(2**24) or ()) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_has_its_figures(kind, train, command, capfd):
    words, absent = KINDS[kind]
    folder = train(*words, "callbacks.pictures.only=null", "logger=csv")["folder"]
    check(folder, capfd.readouterr().out, absent)
    before = {path: path.read_bytes() for path in (folder / "figures").glob("*.png")}
    status, output = command("scripts/figures.py", str(folder))
    assert status == 0, output
    check(folder, output, absent)
    assert all(path.read_bytes() == old for path, old in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["none", "classes", "attributes", "measurements"])
def test_tables_and_pictures_of_any_labels_have_their_figures(labels, train, tmp_path, capfd):
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
    check(train(*words, folder="table")["folder"], capfd.readouterr().out, PICTURED)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(200, 3, 8, 12)), **y)
    check(train(*words, folder="pictures")["folder"], capfd.readouterr().out, set())


@pytest.mark.slow
def test_attributes_of_a_conditional_model_have_their_figures(train, tmp_path, capfd):
    official(tmp_path)
    words = ("data=celeba", f"data.root={tmp_path}", "data.shape=[3,12,8]", "loss=mse")
    words = (*CONDITIONAL, "model.labels=4", *words, "callbacks.pictures.only=null", "logger=csv")
    folder = train(*words)["folder"]
    absent = missing(capfd.readouterr().out)
    assert absent <= {"map", "walks"}  # there are four test images
    check(folder, "left out: " + ", ".join(absent) + ": few" if absent else "", absent)


@pytest.fixture
def folder(train):
    return train(*TINY, "callbacks.pictures.only=[]")["folder"]


def test_only_what_is_asked_for_is_drawn_in_the_format_asked_for(folder, command):
    words = ("--only", "map", "aggregate", "--format", "svg")
    status, output = command("scripts/figures.py", str(folder), *words)
    assert status == 0, output
    paths = [folder / "figures" / f"{name}.svg" for name in ("map", "aggregate")]
    assert output.split() == [str(path) for path in [*paths, folder / "report.html"]]
    assert sorted(folder.glob("figures/*.*g")) == sorted(paths)


def test_a_line_says_why_a_figure_is_left_out(folder, command):
    status, output = command("scripts/figures.py", str(folder), "--only", "curves")
    assert status == 0
    assert output.splitlines()[0].startswith("left out: curves: there are no curves in metrics.csv")


def test_a_figure_that_there_is_not_is_one_line_with_all_that_there_are(folder, command):
    status, _ = command("scripts/figures.py", str(folder), "--only", "mpa")
    assert status == f"error: there is no figure mpa: choose from {', '.join(FIGURES)}"


def test_what_is_no_run_is_one_line(tmp_path, command):
    status, _ = command("scripts/figures.py", str(tmp_path))
    missing = "it holds no .hydra/config.yaml, and no model.safetensors"
    assert status == f"error: {tmp_path} is no run folder: {missing}"


@pytest.fixture
def run(config):
    run = Run.build(config(*TINY))
    run.data.setup()
    return run


def test_the_model_is_left_in_the_mode_it_was_in(run, tmp_path):
    run.vae.train()
    draw_all_figures(run, tmp_path, ["traversals", "aggregate"])
    assert all(module.training for module in run.vae.modules())


def test_a_run_that_went_astray_has_the_figures_that_it_can_have(run, tmp_path, capsys):
    for weight in run.vae.parameters():
        torch.nn.init.constant_(weight, torch.nan)
    assert draw_all_figures(run, tmp_path).keys() == {"reconstructions", "samples"}
    assert "traversals, walks, map, aggregate: the codes are not finite" in capsys.readouterr().out
