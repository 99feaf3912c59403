"""The folder conf is the menu: what it offers exists, is explained and trains."""

import inspect
import math

import numpy as np
import pytest
from conftest import CONF, ROOT, options
from hydra.utils import get_object
from omegaconf import DictConfig
from PIL import Image
from test_celeba import official

from vaelab.command import menu

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
PARTS = ["data", "model", "posterior", "prior", "loss", "objective", "kl", "optimizer", "schedule"]
TRAINED = [*PARTS, "callbacks", "trainer"]


@pytest.fixture
def folders(tmp_path, idx):
    """A small source for each data set."""
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40, 1, 28, 28)))
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        path = tmp_path / "pictures" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "faces").mkdir()
    official(tmp_path / "faces")
    return {
        "celeba": [f"data.root={tmp_path}/faces"],
        "arrays": [f"data.path={tmp_path}/x.npz"],
        "image_folder": [f"data.root={tmp_path}/pictures"],
        "mnist": [f"data.root={idx.root}", "data.validation=10"],
        "fashion_mnist": [f"data.root={idx.root}", "data.validation=10"],
    }


def test_every_group_is_in_the_recipe():
    recipe = (CONF / "train.yaml").read_text()
    assert all(f"- {group}: " in recipe for group in GROUPS)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_first_line_explains_the_file(file):
    lines = (CONF / file).read_text().splitlines()
    if lines[0] == "# @package _global_":
        lines = lines[1:]
    assert lines[0].startswith("# ")
    assert len(lines[0]) <= 110


def test_the_menu_names_every_option():
    text = menu(CONF)
    for group in GROUPS:
        part = text.split(f"\n{group}=\n")[1].split("\n\n")[0]
        assert [line[4:].split()[0] for line in part.splitlines()] == options(group)


@pytest.mark.parametrize("group", sorted({*GROUPS} - {"optimizer", "trainer", "experiment"}))
def test_a_group_has_a_folder_of_its_name_in_src(group):
    names = ("likelihoods",) if group == "loss" else (group, f"{group}s")
    assert any((ROOT / "src" / "vaelab" / name).is_dir() for name in names)


def targets(node, path=""):
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from targets(node._get_node(key), f"{path}.{key}")


@pytest.mark.parametrize("group", GROUPS)
def test_every_key_is_an_argument_of_its_target(config, group):
    for option in options(group):
        for path, node in targets(config(f"{group}={option}")):
            parameters = inspect.signature(get_object(node["_target_"])).parameters
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                keys = {key for key in node if not key.startswith("_")}
                assert keys <= parameters.keys(), (path, keys - parameters.keys())


CHOICES = [f"{group}={option}" for group in TRAINED for option in options(group)]
SPECIAL = {"trainer=ddp", "callbacks=default"}  # tested in test_ddp; always on


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice not in SPECIAL])
def test_every_option_trains(train, folders, choice):
    group, option = choice.split("=")
    more = [*folders.get(option, []), "data.batch_size=4"] if group == "data" else []
    if group == "callbacks":
        choice = f"callbacks=[default,{option}]"
    if group != "model":
        more.append("model.hidden=[8]")
    numbers = train(choice, *more, "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    assert math.isfinite(numbers["elbo"])
    assert numbers["steps"] == 1


def test_an_optimal_scale_trains(train):
    assert math.isfinite(train("loss=gaussian", "loss.scale=optimal", "model.hidden=[8]")["elbo"])


@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_trains(train, folders, config, name):
    data = config(f"experiment={name}").data._target_.split(".")[2]
    root = folders.get(data, [])[:1]
    numbers = train(f"experiment={name}", *root, "trainer.max_epochs=1", "data.batch_size=8")
    assert math.isfinite(numbers["elbo"])


@pytest.mark.parametrize("option", options("logger"))
def test_every_logger_logs_a_run(train, option):
    assert math.isfinite(train(f"logger={option}", "model.hidden=[8]")["elbo"])
