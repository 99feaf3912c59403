"""Random configs: each trains two steps, or is refused in one line that names a key."""

import json
import math
import shutil
from functools import cache

import pytest
from conftest import CONF, QUICK, options
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, ListConfig, OmegaConf
from test_conf import COMBINED, SMALL, folders, latent_dim  # noqa: F401

from vaelab.runtime.errors import is_user_error, one_line_message

GROUPS = [group for group in COMBINED if group != "callbacks"]
UNCHANGED = {"folder", "root", "path", "cache", "start", "compile"}  # paths, and slow compilation
LENGTHS = {  # huge values of these are valid, and take very long
    *("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "samples"),
    *("accumulate_grad_batches", "transforms", "blocks", "residual", "layers", "components"),
    *("pseudo_inputs", "positions", "angles", "scales", "train", "validation", "test"),
    *("projections", "stages"),
}
WRONG = ["abc", "", [], [1, "a"], None, True, -1, 0, 0.5, -0.5, math.nan, math.inf, -math.inf]
HUGE = [10**9, 10**30, 1e300, -(10**12)]
FUZZ = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def iterate_settings(node, path=""):
    """Yield the dotted keys that can be set, and their values."""
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            yield from iterate_settings(child, f"{path}{key}.")
        elif not str(key).startswith("_") and key not in UNCHANGED and child._value() != "???":
            yield f"{path}{key}", node[key] if "${" not in str(child._value()) else 1


@cache
def list_settings(words):
    """Return the settings of the config that a command composes, by key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*QUICK, *words])
    settings = dict(iterate_settings(cfg))
    return {key: settings[key] for key in settings if not key.startswith(("module.", "published"))}


def nearby_values(value):
    """Return values close to a valid one; most of them are valid too."""
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


def format_value(value):
    """Write a value as on a command line."""
    if isinstance(value, float):
        return str(value)
    return json.dumps(value).replace('"', "'").replace(" ", "")


@st.composite
def random_commands(draw, sources):
    """Draw options of some groups and values of some keys; return the words and the changed keys.

    Arguments:
        sources: Returns the settings that select the files of a data set.
    """
    groups = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=3))
    chosen = {group: draw(st.sampled_from(options(group))) for group in groups}
    choices = {"data": "mnist5k", "model": "mlp", "posterior": "diagonal"} | chosen
    words = [f"{group}={option}" for group, option in chosen.items()]
    words += sources(choices["data"])
    words += [*SMALL[choices["model"]], f"latent_dim={latent_dim(choices)}", "data.batch_size=4"]
    if draw(st.booleans()):
        words.append("callbacks=[default,ema,early_stopping]")
    if draw(st.booleans()):
        words.append("logger=csv")
    values = list_settings(tuple(words))
    changed = draw(st.lists(st.sampled_from(list(values)), unique=True, max_size=3))
    has_wrong_values = draw(st.booleans())
    for key in changed:
        candidates = nearby_values(values[key])
        if has_wrong_values:
            is_length = key.rpartition(".")[2] in LENGTHS
            candidates += WRONG if is_length else WRONG + HUGE
        words.append(f"{key}={format_value(draw(st.sampled_from(candidates)))}")
    return words, changed


def train_or_refuse(train, words, folder):
    """Train a run; return None, or the error message of a refused config."""
    try:
        train(*words, folder=folder.name)
    except Exception as error:
        if not is_user_error(error):
            raise
        return one_line_message(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def names_a_key(message, changed):
    """True if an error message names a changed key, or a config group."""
    return any(key.rpartition(".")[2] in message for key in changed) or any(
        group in message for group in [*GROUPS, "latent_dim"]
    )


def fuzz_configs(train, sources, folder, examples, first_seed):
    """Train random configs, the same ones in every test run."""

    @seed(first_seed)
    @settings(max_examples=examples, **FUZZ)
    @given(random_commands(sources))
    def check_command(command):
        words, changed = command
        message = train_or_refuse(train, words, folder)
        assert message is None or names_a_key(message, changed), message

    check_command()


def test_random_config_trains_or_is_refused_by_name(train, folders, tmp_path):  # noqa: F811
    fuzz_configs(train, folders, tmp_path / "run", 8, 0)


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(1, 11))
def test_many_random_configs_train_or_are_refused(train, folders, tmp_path, first_seed):  # noqa: F811
    fuzz_configs(train, folders, tmp_path / "run", 50, first_seed)
