"""Test that every option in conf/ exists, is explained in the menu and trains."""

import functools
import inspect
import math
import re

import numpy as np
import pytest
from allpairspy import AllPairs
from conftest import CONF, ROOT, options, slow
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import DictConfig
from PIL import Image
from published_sets import WRITERS
from test_celeba import write_celeba

from vaelab.cli.menu import STARTING_POINTS, render_help
from vaelab.models.deep import LatentSize
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import UserError

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
RECIPES = {"sampler": "sample"}  # groups that another command than train.py uses
PARTS = ["data", "model", "posterior", "prior", "loss", "objective", "kl", "optimizer", "schedule"]
TRAINED = [*PARTS, "callbacks", "trainer"]


LARGE_VALIDATION = {"cifar10", "cifar100", "svhn", "kmnist", "usps", "omniglot_chardata"}


@pytest.fixture
def folders(tmp_path, idx, monkeypatch):
    """Write small data; return a function that returns the settings that select a data set."""
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40, 1, 28, 28)))
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "faces").mkdir()
    write_celeba(tmp_path / "faces")
    settings = {
        "celeba": [f"data.root={tmp_path}/faces"],
        "arrays": [f"data.path={tmp_path}/x.npz"],
        "image_folder": [f"data.root={tmp_path}/images"],
        "mnist": [f"data.root={idx.root}", "data.validation=10"],
        "fashion_mnist": [f"data.root={idx.root}", "data.validation=10"],
        "huggingface": [f"data.path={tmp_path}/images", f"data.cache={tmp_path}/cache"],
        "sprites": ["data.shape=[1,28,28]", "data.angles=2", "data.positions=2"],
        "series": ["data.train=40", "data.validation=10", "data.test=10"],
        "volumes": ["data.train=40", "data.validation=10", "data.test=10"],
    }

    def select(option):
        if option not in WRITERS:
            return settings.get(option, [])
        WRITERS[option](tmp_path / "published", monkeypatch)
        fewer = ["data.validation=4"] if option in LARGE_VALIDATION else []
        return [f"data.root={tmp_path}/published", *fewer]

    return select


def test_every_group_is_in_the_defaults_of_its_command():
    for group in GROUPS:
        assert f"- {group}: " in (CONF / f"{RECIPES.get(group, 'train')}.yaml").read_text()


@pytest.mark.parametrize("file", FILES, ids=str)
def test_first_line_of_a_file_explains_it(file):
    lines = (CONF / file).read_text().splitlines()
    if lines[0] == "# @package _global_":
        lines = lines[1:]
    assert lines[0].startswith("# ")
    assert len(lines[0]) <= 110


def test_menu_names_every_option():
    overview = " ".join(render_help(recipe) for recipe in ("train", "sample"))
    assert "hydra/launcher=joblib|ray|slurm" in overview
    for group in GROUPS:
        section = render_help(RECIPES.get(group, "train"), [group])
        assert [line[4:].split()[0] for line in section.splitlines()[1:]] == options(group)
        shown = STARTING_POINTS if group == "experiment" else options(group)
        assert {*shown} <= {word.lstrip("*") for word in overview.split()}
        assert {*shown} <= {*options(group)}


def test_overview_fits_one_screen():
    lines = render_help("train").splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80


def test_help_about_an_unknown_group_suggests_the_nearest():
    with pytest.raises(UserError, match=r"--help modle: .*did you mean model\?"):
        render_help("train", ["modle"])


# Groups that use classes of torch or Lightning, or no classes.
WITHOUT_CODE = {"optimizer", "trainer", "experiment", "sweep", "debug"}


@pytest.mark.parametrize("group", sorted({*GROUPS} - WITHOUT_CODE))
def test_group_has_a_folder_of_the_same_name_in_src(group):
    names = ("likelihoods",) if group == "loss" else (group, f"{group}s")
    assert any((ROOT / "src" / "vaelab" / name).is_dir() for name in names)


def targets(node, path=""):
    """Yield the path and the node of every `_target_` in a config."""
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from targets(node._get_node(key), f"{path}.{key}")


def check_keys(cfg):
    """Check that every key of a node with a `_target_` is an argument of its class."""
    for path, node in targets(cfg):
        parameters = inspect.signature(get_object(node["_target_"])).parameters
        if not any(argument.kind is argument.VAR_KEYWORD for argument in parameters.values()):
            keys = {key for key in node if not key.startswith("_")}
            assert keys <= parameters.keys(), (path, keys - parameters.keys())


# sweep sets only keys of Hydra; the keys of experiments have a test below
@pytest.mark.parametrize("group", sorted({*GROUPS} - {"sweep", "experiment", "debug"}))
def test_every_key_is_an_argument_of_its_target(config, group):
    for option in options(group):
        check_keys(config(f"{group}={option}", recipe=RECIPES.get(group, "train")))


CHOICES = [f"{group}={option}" for group in TRAINED for option in options(group)]
# Tested in test_ddp and test_slurm; callbacks=default is used in every test.
TESTED_IN_OTHER_FILES = {"trainer=ddp", "trainer=slurm_ddp", "callbacks=default"}
TESTED_IN_OTHER_FILES |= {"trainer=gpu", "trainer=mps"}  # need such a device


QUANTIZERS = ("vq", "fsq", "lfq", "residual_vq")
# Settings without which an option is refused.
NEEDS = {
    "schedule=torch": [
        "schedule.scheduler={_target_:torch.optim.lr_scheduler.StepLR,_partial_:true,step_size:1}"
    ],
    "data=toy2d": ["loss=mse"],
    "data=series": ["loss=mse"],
    "data=counts": ["loss=poisson"],
    "data=table": ["loss=mixed"],
    "loss=mixed": ["data=table"],
    "posterior=deterministic": ["objective=autoencoder"],
    "prior=sphere": ["posterior=vmf"],
    "prior=categorical": ["posterior=gumbel"],
    **{key: ["objective=vq"] for key in ("prior=codes", "prior=pixelcnn", "prior=transformer")},
    **{f"posterior={quantizer}": ["objective=vq"] for quantizer in QUANTIZERS},
    "objective=prior": ["prior=mixture"],
    "prior=flow_matching": ["objective=prior"],
    "prior=diffusion": ["objective=prior"],
    **{
        f"loss={loss}": ["data.binarize=none"]
        for loss in ("continuous_bernoulli", "discretized_logistic", "logistic_mixture")
    },
}


def start_setting(config, tmp_path, *words):
    """Write untrained weights; return the setting with which objective=prior starts from them."""
    run = RunParts.build(config("logger=none", *words))
    run.save(tmp_path / "before" / "model.safetensors")
    return f"start={tmp_path / 'before'}"


def has_finite_loss(numbers):
    return math.isfinite(numbers["reconstruction"])


def option_words(choice, folders, start):
    """Return the words of a short training with one option.

    Arguments:
        start: Called with words; returns the setting with which objective=prior starts.
    """
    group, option = choice.split("=")
    words = [*folders(option), "data.batch_size=4"] if group == "data" else []
    words += NEEDS.get(choice, [])
    if group != "model":
        words.append("model.hidden=[8]")
    if "objective=prior" in (choice, *words):
        words.append(start("model.hidden=[8]"))
    if choice in ("model=autoencoder", "model=ladder_conv", "model=resnet"):
        words.append("model.channels=[4,8]")
    if choice == "model=deep":
        words.append("model.channels=8")
    if group == "callbacks":
        choice = f"callbacks=[default,{option}]"
    return [choice, *words]


@pytest.mark.parametrize(
    "choice",
    [choice for choice in CHOICES if choice.split("=")[0] not in ("callbacks", "trainer")],
)
def test_every_option_takes_an_optimizer_step(take_step, config, folders, tmp_path, choice):
    start = functools.partial(start_setting, config, tmp_path)
    terms = take_step(*option_words(choice, folders, start))
    assert all(map(math.isfinite, terms.values()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", [choice for choice in CHOICES if choice not in TESTED_IN_OTHER_FILES]
)
def test_every_option_trains(train, config, folders, tmp_path, choice):
    start = functools.partial(start_setting, config, tmp_path)
    words = option_words(choice, folders, start)
    numbers = train(*words, "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    assert has_finite_loss(numbers)
    assert numbers["steps"] == 1


COMBINED = ["data", "model", *PARTS[2:], "callbacks"]
# Data sets that the other parts cannot tell from mnist, sprites and image_folder.
READ_LIKE_OTHERS = {*WRITERS, "huggingface"}
PIXELS = ["none", "dynamic", "dequantize"]


def list_combinations():
    """Return combinations in which every two options of different groups occur together."""
    choices = [
        [f"{group}={option}" for option in options(group) if option not in READ_LIKE_OTHERS]
        for group in COMBINED
    ]
    choices.append([f"pixels={pixels}" for pixels in PIXELS])
    return [list(combination) for combination in AllPairs(choices)]


WITHOUT_KL = {
    "autoencoder",
    "rae",
    "wae_mmd",
    "swae",
    "aae",
}  # a point posterior works
MULTI_SAMPLE = {"iwae", "miwae", "piwae", "ciwae", "dreg", "stl", "renyi"}
LAYERED = {"elbo", "iwae", "miwae", "ciwae", "renyi", "factor", "info_mmd", "ms_ssim", "perceptual"}
COUNTS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial")
TABLES = ("toy2d", "counts", "table")
LEVELS = ("discretized_logistic", "logistic_mixture", "categorical")
CONVOLUTIONAL = ("conv", "resnet", "ladder_conv", "deep", "conditional_conv", "vq", "autoencoder")
SCALED = {"gaussian", "laplace", "student_t", "discretized_logistic", *COUNTS[1:]}


def expected_refusals(choices):
    """Return a part of each error message that may refuse a combination; empty if it must train."""
    chosen = dict(choice.split("=") for choice in choices)
    objective, posterior, prior = chosen["objective"], chosen["posterior"], chosen["prior"]
    loss, data = chosen["loss"], chosen["data"]
    points, signed = data in TABLES, data in (*TABLES, "series")
    real = data == "arrays" or signed
    counted = data in ("counts", "sprites", "volumes") or chosen["pixels"] == "dynamic"
    # with the ten classes of model=conditional
    labelled = data in ("series", "volumes", "table") or not (real or data == "sprites")
    levels = loss in LEVELS
    dequantize, flows = chosen["pixels"] == "dequantize", ("iaf", "naf")
    layered = chosen["model"] in ("ladder", "ladder_conv", "deep", "bottom_up")
    kinds = {"vmf": "sphere", "gumbel": "one-hot"} | dict.fromkeys(QUANTIZERS, "codes")
    kinds |= {"sphere": "sphere", "codes": "codes", "pixelcnn": "codes", "categorical": "one-hot"}
    kinds |= {"transformer": "codes"}
    reasons = {
        "no weighted KL term": objective in WITHOUT_KL | {"beta_tc", "info_mmd", "vq", "prior"}
        and chosen["kl"] != "constant",
        "not linear in the KL": objective in MULTI_SAMPLE
        and chosen["kl"] in ("free_bits", "capacity"),
        "lives on": prior != "vamp" and kinds.get(posterior, "plane") != kinds.get(prior, "plane"),
        "do not fill": prior == "categorical" and posterior != "gumbel",
        "relaxes": posterior == "gumbel" and (objective in MULTI_SAMPLE or prior == "vamp"),
        "supports one stochastic layer only": layered and objective not in LAYERED,
        "normal layers of its own": layered and (posterior, prior) != ("diagonal", "normal"),
        "pseudo-inputs have no labels": "conditional" in chosen["model"] and prior == "vamp",
        "data's labels are": "conditional" in chosen["model"] and not labelled,
        "are points": posterior in QUANTIZERS and prior == "vamp",
        "samples vary": posterior in QUANTIZERS
        and objective not in WITHOUT_KL | {"beta_tc", "vq", "prior"},
        "set posterior=vq, or": posterior not in QUANTIZERS and objective == "vq",
        "positions": chosen["model"] == "vq" and not outputs_fit_the_grid(chosen),
        "divided equally": chosen["model"] == "autoencoder" and not outputs_fit_the_grid(chosen),
        "no trainable parameters": objective == "prior" and prior in ("normal", "sphere", "codes"),
        "as in start=runs": objective == "prior",
        "with a density": posterior == "deterministic" and objective not in WITHOUT_KL,
        "deterministic latents": posterior != "deterministic" and objective == "rae",
        "by dimension": objective == "beta_tc" and (posterior, prior) != ("diagonal", "normal"),
        "batch normalization": chosen["model"] == "resnet" and prior == "vamp",
        "permuted independently": objective == "factor" and posterior in ("vmf", "gumbel"),
        "moments": objective == "dip"
        and posterior in (*flows, "planar", "vmf", *QUANTIZERS, "gumbel"),
        "rounding errors": posterior in flows and (prior == "vamp" or objective in ("stl", "dreg")),
        "loss of its own": objective != "prior" and prior in ("flow_matching", "diffusion"),
        "would train the prior": objective in WITHOUT_KL
        and prior in ("mixture", "vamp", "flow", "pixelcnn", "transformer"),
        "would not train the scale": objective in ("ms_ssim", "vae_gan") and loss in SCALED,
        "256 levels": levels and (dequantize or (real and chosen["pixels"] == "none")),
        "is a probability of counts": loss in COUNTS and not counted,
        "needs the kind of each column": loss == "mixed" and chosen["data"] != "table",
        "takes pixels in": signed and loss in ("bce", "continuous_bernoulli", *LEVELS),
        "treats pixels as probabilities": signed and chosen["pixels"] == "dynamic",
        "images (C, H, W)": (
            points and (chosen["model"] in CONVOLUTIONAL or objective in ("vae_gan", "perceptual"))
        )
        or (
            data in ("toy2d", "series", "volumes")
            and (objective in ("ms_ssim", "perceptual") or chosen["model"] == "autoencoder")
        ),
        "channels of images": points and loss == "logistic_mixture",
        "needs pixels with 256 levels": dequantize and (real or data in ("sprites", "volumes")),
    }
    return [reason for reason, holds in reasons.items() if holds]


def spatial_size(chosen):
    edge = 64 if chosen["data"] in ("celeba", "image_folder") else 28
    return {"series": (128,), "volumes": (16, 16, 16)}.get(chosen["data"], (edge, edge))


def latent_dim(chosen):
    """Return a small latent_dim that the grid of a convolutional model divides."""
    half, quarter = (math.prod(n // k for n in spatial_size(chosen)) for k in (2, 4))
    latents = {"vq": quarter, "ladder_conv": half + quarter, "autoencoder": 4 * half}
    latents["deep"] = LatentSize(latents=1)((1, *spatial_size(chosen)))
    return latents.get(chosen["model"], 3)


def posterior_settings(chosen):
    """Return the settings of discrete posteriors that fit latent_dim."""
    size = latent_dim(chosen)
    divisor = next(count for count in range(2, size + 1) if size % count == 0)
    settings = {
        "vq": {"dim": 1},
        "fsq": {"levels": [5]},
        "lfq": {"bits": 1},
        "residual_vq": {"dim": 1, "depth": 1},
        "gumbel": {"categories": divisor},
    }
    return settings.get(chosen["posterior"], {})


def outputs_fit_the_grid(chosen):
    """Return True if the latents of a grid divide the number of encoder outputs."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose("train", [f"posterior={chosen['posterior']}"]).posterior
    posterior = build_from_config(node, **posterior_settings(chosen))(latent_dim(chosen))
    return posterior.inputs % latent_dim(chosen) == 0


FACES = "model.labels=4"  # the number of attributes in the folder of faces
MLP, CONV = ["model.hidden=[8]"], ["model.channels=[4,8]"]
SMALL = {
    "mlp": MLP,
    "residual_mlp": ["model.width=8", "model.blocks=1"],
    "gumbel": MLP,
    "conditional": MLP,
    "conv": CONV,
    "conditional_conv": CONV,
    "resnet": [*CONV, "model.blocks=1"],
    "autoencoder": CONV,
    "ladder": ["model.hidden=[8,6]", "model.latents=[2,1]"],
    "ladder_conv": [*CONV, "model.latents=[1,1]"],
    "deep": ["model.channels=4", "model.latents=1"],
    "bottom_up": ["model.hidden=[[8],[6]]", "model.latents=[2,1]"],
    "vq": ["model.channels=4", "model.residual=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("choices", list_combinations(), ids=" ".join)
def test_combination_trains_or_is_refused_with_a_reason(train, folders, tmp_path, choices):
    reasons = expected_refusals(choices)
    chosen = dict(choice.split("=") for choice in choices)
    words = [choice for choice in choices if not choice.startswith(("pixels", "callbacks"))]
    words.append(f"callbacks=[{','.join(dict.fromkeys(['default', chosen['callbacks']]))}]")
    words += folders(chosen["data"])
    words += NEEDS["schedule=torch"] if "schedule=torch" in choices else []
    words += {
        "none": ["data.binarize=none"],
        "dynamic": ["data.binarize=dynamic"],
        "dequantize": ["data.binarize=none", "data.dequantize=true"],
    }[chosen["pixels"]]
    words += [*SMALL[chosen["model"]], f"latent_dim={latent_dim(chosen)}"]
    settings = posterior_settings(chosen)
    words += [f"posterior.{key}={value}" for key, value in settings.items()]
    if "conditional" in chosen["model"] and chosen["data"] == "celeba":
        words.append(FACES)
    words += ["data.batch_size=2", "trainer.max_epochs=1"]
    words += ["trainer.limit_train_batches=2"]
    if reasons:
        with pytest.raises(ValueError, match="|".join(map(re.escape, reasons))):
            train(*words)
        assert not (tmp_path / "run" / "checkpoints").exists()
    else:
        numbers = train(*words)
        assert has_finite_loss(numbers)
        assert numbers["steps"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("loss", [*COUNTS, "mixed"])
@pytest.mark.parametrize(
    "choice",
    [
        each
        for each in CHOICES
        if each.split("=")[0] in ("model", "posterior", "prior", "objective")
        and each != "objective=prior"  # it starts from a run with the same loss
    ],
)
def test_counts_and_tables_take_a_step_with_every_part(take_step, choice, loss):
    words = [*option_words(choice, {}, str), f"loss={loss}", *NEEDS.get(f"loss={loss}", [])]
    compares_images = choice in [f"objective={o}" for o in ("vae_gan", "ms_ssim", "perceptual")]
    is_convolutional = choice in [f"model={name}" for name in CONVOLUTIONAL]
    if loss == "mixed" and (compares_images or is_convolutional):
        with pytest.raises(UserError, match="images"):
            take_step(*words)
    elif loss in SCALED and compares_images and choice != "objective=perceptual":
        with pytest.raises(UserError, match="would not train the scale"):
            take_step(*words)
    else:
        assert all(map(math.isfinite, take_step(*words).values()))


def test_optimal_scale_trains(train):
    assert math.isfinite(train("loss=gaussian", "loss.scale=optimal", "model.hidden=[8]")["elbo"])


def experiment_words(name, config, folders, tmp_path):
    """Return the words of a short training of an experiment on small data."""
    data = config(f"experiment={name}").data._target_.split(".")[2]
    words = [*folders(data), "data.batch_size=8"]
    if name == "conditional_faces":
        words.append(FACES)
    if name in ("cifar10_deep", "celeba64_deep", "imagenet32_deep"):
        words += ["model.channels=8", "model.latents=1", "model.encoder_blocks=1"]
        words.append("model.layers={4:1,8:1,16:1,32:1}")
        words += ["model.layers={64:1}"] if name == "celeba64_deep" else []
        words.append("trainer.precision=32-true")  # bf16 is slow on most CPUs
    first = {
        "vq_prior": "experiment=vq_vae",
        "fsq_prior": "experiment=fsq_vae",
        "autoencoder_kl_decoder": "experiment=autoencoder_kl",
        "latent_flow": "model=conv",
    }
    if name in first:
        words.append(start_setting(config, tmp_path, first[name], *words))
    return [f"experiment={name}", *words]


@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_composes_with_arguments_of_its_targets(config, name):
    check_keys(config(f"experiment={name}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_trains(train, folders, config, tmp_path, name):
    words = experiment_words(name, config, folders, tmp_path)
    assert has_finite_loss(train(*words, "trainer.max_epochs=1"))


@pytest.mark.parametrize("size", [32, 64])
def test_colour_experiment_takes_a_step_at_both_sizes(train, folders, size):
    words = [*folders("image_folder"), f"data.shape=[3,{size},{size}]", "data.batch_size=2"]
    numbers = train("experiment=colour", *words, "trainer.limit_train_batches=1")
    assert numbers["steps"] == 1
    assert has_finite_loss(numbers)


@pytest.mark.parametrize(
    "option", ["default", *slow(*(name for name in options("logger") if name != "default"))]
)
def test_every_logger_logs_a_run(train, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for the database of MLflow
    assert math.isfinite(train(f"logger={option}", "model.hidden=[8]")["elbo"])
