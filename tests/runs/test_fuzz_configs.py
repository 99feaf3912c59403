"""Configs nobody thought of: each trains two steps, or is refused in a line that names a key."""

import json
import math
import shutil
from functools import cache

import pytest
from conftest import CONF, QUICK, options
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, ListConfig, OmegaConf
from test_conf import COMBINED, SMALL, folders, latent_dim  # noqa: F401

from vaelab.runtime.errors import is_user_error, one_line_message

GROUPS = [group for group in COMBINED if group != "callbacks"]
LEFT = {"folder", "root", "path", "cache", "start", "compile"}  # places, and minutes of compiling
LENGTHS = {  # of what takes its time where it is huge, and is not wrong
    *("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "samples"),
    *("accumulate_grad_batches", "transforms", "blocks", "residual", "layers", "components"),
    *("pseudo_inputs", "positions", "angles", "scales", "train", "validation", "test"),
    *("projections", "stages"),
}
WRONG = ["abc", "", [], [1, "a"], None, True, -1, 0, 0.5, -0.5, math.nan, math.inf, -math.inf]
HUGE = [10**9, 10**30, 1e300, -(10**12)]
FUZZ = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def leaves(node, path=""):
    """The keys that can be set, and their values."""
    for key in node:
        below = node._get_node(key)
        if isinstance(below, DictConfig):
            yield from leaves(below, f"{path}{key}.")
        elif not str(key).startswith("_") and key not in LEFT:
            yield f"{path}{key}", node[key] if "${" not in str(below._value()) else 1


@cache
def known(words):
    """Those of a composed config."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*QUICK, *words])
    found = [pair for pair in leaves(cfg) if not pair[0].startswith(("module.", "published"))]
    return dict(found)


def near(value):
    """Values beside one that is right."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value + 2, max(value - 1, 1), 2 * value]
    if isinstance(value, float):
        return [value / 2, 2 * value, value + 1, 0.0]
    if isinstance(value, ListConfig):
        value = OmegaConf.to_container(value)
        return [value, value[1:], [*value, *value]]
    return [value]


def typed(value):
    """As it is written on a command line."""
    if isinstance(value, float):
        return str(value)
    return json.dumps(value).replace('"', "'").replace(" ", "")


@st.composite
def commands(draw, sources):
    """Options of some groups with other values of some keys; the words, and what was changed."""
    groups = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=3))
    chosen = {group: draw(st.sampled_from(options(group))) for group in groups}
    full = {"data": "mnist5k", "model": "mlp", "posterior": "diagonal"} | chosen
    words = [f"{group}={option}" for group, option in chosen.items()]
    words += sources.get(full["data"], [])
    words += [*SMALL[full["model"]], f"latent_dim={latent_dim(full)}", "data.batch_size=4"]
    if draw(st.booleans()):
        words.append("callbacks=[default,ema,early_stopping]")
    if draw(st.booleans()):
        words.append("logger=csv")
    values = known(tuple(words))
    changed = draw(st.lists(st.sampled_from(list(values)), unique=True, max_size=3))
    hostile = draw(st.booleans())
    for key in changed:
        wild = near(values[key])
        if hostile:
            wild = wild + WRONG if key.rpartition(".")[2] in LENGTHS else wild + WRONG + HUGE
        words.append(f"{key}={typed(draw(st.sampled_from(wild)))}")
    return words, changed


def outcome(train, words, folder):
    """None of a run that was trained, or the line that refuses it."""
    try:
        train(*words, folder=folder.name)
    except Exception as error:
        if not is_user_error(error):
            raise
        return one_line_message(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def names(line, changed):
    """Whether a line says which key to change, one that was changed or another of its group."""
    return any(key.rpartition(".")[2] in line for key in changed) or any(
        group in line for group in [*GROUPS, "latent_dim"]
    )


def fuzz(train, sources, folder, examples):
    @settings(max_examples=examples, **FUZZ)
    @given(commands(sources))
    def each(command):
        words, changed = command
        line = outcome(train, words, folder)
        assert line is None or names(line, changed), line

    each()


def test_a_config_trains_or_is_refused_by_name(train, folders, tmp_path):  # noqa: F811
    fuzz(train, folders, tmp_path / "run", 30)


@pytest.mark.slow
def test_any_config_trains_or_is_refused_by_name(train, folders, tmp_path):  # noqa: F811
    fuzz(train, folders, tmp_path / "run", 500)
