"""`vaelab.run_training` and `vaelab.fit`: train a model and return its run."""

import inspect
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import Callback, LightningDataModule, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from vaelab.api.data import make_data
from vaelab.api.model import ModelRecipe, insert_nodes
from vaelab.api.run import Run, load
from vaelab.cli.overrides import compose_checked
from vaelab.cli.train import silence_messages
from vaelab.data.arrays import ArrayData, Arrays
from vaelab.data.base import DataModule
from vaelab.kl.base import KLWeighting
from vaelab.module import VAEModule
from vaelab.objectives.base import Objective
from vaelab.runs.config_check import check_run_config
from vaelab.runs.factories import GIVEN, describe_factory
from vaelab.runs.hydra_state import hydra_config_of_run
from vaelab.runs.ownership import owned_new_folder, owned_run
from vaelab.runs.paths import DATA
from vaelab.runs.recorded import write_recorded_run
from vaelab.runs.resolved import resolve_precision, resolve_values
from vaelab.runs.run import RunParts
from vaelab.runs.weights import hash_weights
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import UserError, error_log, suggest
from vaelab.runtime.trusted_config import check_config
from vaelab.schedules.base import Schedule
from vaelab.train import train, train_run
from vaelab.vae import VAE

MAX_SAVED_BYTES = 2**30  # of data in memory that a run keeps
DATA_KEYS = ("binarize", "batch_size", "seed", "dequantize", "missing", "missing_fraction")


def run_training(*words: str, folder: str | Path | None = None, trust: Iterable[str] = ()) -> Run:
    """Train one run, as `vaelab train <words>` does, and return it.

    Arguments:
        words: The words of the command line, such as "model=conv" and "loss=bce".
        folder: The run folder; None is runs/<time>.
        trust: Names of own packages whose classes the config may use, besides those of
            VAELAB_TRUST.

    Raises:
        UserError: If a word is wrong, the config cannot be trained, or the folder holds a run.
    """
    if other := [word for word in words if word.startswith(("-", "hydra", "resume="))]:
        raise UserError(
            f"{other[0]}: run_training takes the choices of one run: use the command line for "
            "multiruns and resume, and folder= for the folder"
        )
    cfg, choices = _compose(words)
    with _new_folder(folder) as path, _running(path, words, words):
        resolve_values(cfg)
        check_config(cfg, trust)
        write_recorded_run(path, cfg, choices, words, str(Path.cwd()))
        train(cfg)
    return load(path, trust=trust)


def fit(
    vae: VAE,
    data: Any,
    *,
    objective: str | Objective | Callable[..., Objective] = "elbo",
    kl: str | KLWeighting | Callable[..., KLWeighting] = "constant",
    optimizer: str | Callable[..., Optimizer] = "adam",
    schedule: str | Schedule | Callable[..., Schedule] = "constant",
    folder: str | Path | None = None,
    seed: int = 0,
    callbacks: str | Callback | Iterable[str | Callback] = (),
    logger: str | Logger | Iterable[str | Logger] | None = "csv",
    **settings: Any,
) -> Run:
    """Train a VAE, evaluate its best weights, and return the run.

    A word names an option of conf/, and keys may follow it: kl="warmup kl.period=500". A factory (a
    class or a function) is called by vaelab. An object is taken as it is.

    The run folder is like that of `vaelab train`. Every command works on it if its parts were given
    as words or as importable factories; otherwise `vaelab.load(folder, vae=vae)` opens it. A model
    of `make_model` that was not trained yet receives initial weights that depend on `seed` only, so
    that the same call gives the same numbers.

    Arguments:
        vae: The model, whose weights are trained.
        data: A data set of `make_data` or any other data set of vaelab, the words of an option of
            conf/data, or what `make_data` takes. Up to 1 GB in memory is saved in the run.
        objective: The loss. A factory is called with kl, if it takes it.
        kl: The weight of the KL term.
        optimizer: A factory is called with the groups of parameters, as torch.optim.Adam is.
        schedule: The learning rate schedule.
        folder: The run folder; None is runs/<time>.
        seed: The seed of all random numbers.
        callbacks: More callbacks: options of conf/callbacks, and objects.
        logger: Options of conf/logger, and objects; None is no logger.
        settings: Arguments of Lightning's Trainer, such as max_epochs=20, and keys of
            conf/train.yaml that belong to no group, such as samples=1000 and on_nan="skip".

    Raises:
        UserError: If a setting is wrong, the parts do not fit each other, or the folder holds a
            run.
    """
    slots = {"kl": kl, "objective": objective, "optimizer": optimizer, "schedule": schedule}
    recipe = vae.recipe or ModelRecipe([], {}, ["vae"])
    callback_words, callback_objects = _split_objects(callbacks)
    logger_words, logger_objects = _split_objects(logger)
    if isinstance(data, DataLoader) or (
        isinstance(data, LightningDataModule) and not isinstance(data, DataModule)
    ):
        raise UserError(
            f"fit needs the data themselves, not a {type(data).__name__}: pass its data set, or "
            "train with pytorch_lightning.Trainer(...).fit(vaelab.VAEModule(vae), data)"
        )
    data = data if isinstance(data, DataModule | str) else make_data(data)
    words = [*recipe.words, f"seed={seed}"]
    words += _select_several("callbacks", ["default", *callback_words])
    words += _select_several("logger", logger_words or ["none"])
    for group, value in {**slots, "data": data}.items():
        words += f"{group}={value}".split() if isinstance(value, str) else []
    cfg, choices = _compose(words)
    insert_nodes(cfg, recipe.nodes)
    cfg.latent_dim = vae.latent_dim
    _apply_settings(cfg, settings)
    given = [*recipe.given, *_insert_slots(cfg, slots)]
    given += [
        name for name, each in (("callbacks", callback_objects), ("logger", logger_objects)) if each
    ]
    is_untrained = hash_weights(vae.state_dict()) == recipe.initial
    is_rebuilt = is_untrained and not recipe.given
    if not is_untrained and vae.recipe:  # it was trained without vaelab, or by an earlier fit
        vae.is_initialized = True
        given.append("weights")
    if isinstance(data, DataModule):
        given += _insert_data(cfg, data)
    cfg[GIVEN] = given
    choices |= _name_parts({**recipe.nodes, **slots, "data": data})

    with _new_folder(folder) as path, _running(path, words, [f"resume={path}"]):
        resolve_precision(cfg)
        check_run_config(cfg)
        started = str(Path.cwd()) if isinstance(data, str) else None
        write_recorded_run(path, cfg, choices, words, started)
        if isinstance(data, ArrayData) and not isinstance(data, Arrays) and "data" not in given:
            data.save(path / DATA)
        with error_log(path):
            seed_everything(seed, verbose=False)
            if isinstance(data, str):
                data = RunParts.build_data(cfg, ".")
            if data.shape != vae.shape:
                raise UserError(
                    f"x has shape {list(data.shape)}, but the model takes {list(vae.shape)}: build "
                    "it with make_model(data.shape, ...)"
                )
            if data.has_missing != vae.missing:
                missing = f"missing={data.has_missing}"
                raise UserError(
                    f"the data have {missing}, but the model has missing={vae.missing}: build it "
                    f"with make_model(data.shape, {missing}, ...)"
                )
            if is_rebuilt:  # so that the initial weights depend on the seed only
                built: VAE = build_from_config(
                    cfg.module.vae,
                    shape=list(data.shape),
                    **({"missing": True} if vae.missing else {}),
                )
                vae.load_state_dict(built.state_dict())
            module = VAEModule(
                vae,
                _build_objective(cfg, slots),
                **{name: _build_slot(cfg, name, slots[name]) for name in ("optimizer", "schedule")},
                **{key: cfg[key] for key in ("seed", "compile", "channels_last", "on_nan")},
            )
            run = RunParts(cfg, data, module.train(), choices=choices, overrides=words)
            train_run(run, callbacks=callback_objects, loggers=logger_objects)
    return Run(run, path)


def _compose(words: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose the config of a run, and return it with the chosen option of each group."""
    cfg = compose_checked("train", words, with_hydra=True)
    chosen: Any = OmegaConf.to_container(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
    OmegaConf.set_struct(cfg, False)
    return cfg, {group: option for group, option in chosen.items() if "hydra" not in group}


@contextmanager
def _new_folder(folder: str | Path | None) -> Iterator[Path]:
    """Create a run folder, and remove it if an error leaves nothing but the record in it."""
    with _owned_folder(folder) as path:
        path.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        except BaseException:
            if {each.name for each in path.iterdir()} <= {".hydra", DATA}:
                shutil.rmtree(path)
            raise


@contextmanager
def _owned_folder(folder: str | Path | None) -> Iterator[Path]:
    """Own an empty or new folder; None is runs/<time>."""
    if folder is None:
        time = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        with owned_new_folder(Path("runs", time).resolve()) as path:
            yield path
        return
    path = Path(folder).expanduser().resolve()
    with owned_run(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"folder={folder} is not empty: choose another one, or delete it")
        yield path


@contextmanager
def _running(folder: Path, words: Sequence[str], command: Sequence[str]) -> Iterator[None]:
    """Provide what a training needs of its surroundings."""
    with warnings.catch_warnings(), hydra_config_of_run(folder, words, command):
        silence_messages()
        yield


def _split_objects(parts: Any) -> tuple[list[str], list[Any]]:
    """Split one or several callbacks or loggers into words and objects."""
    if parts is None:
        return [], []
    several = [*parts] if isinstance(parts, Iterable) and not isinstance(parts, str) else [parts]
    words = [part for part in several if isinstance(part, str)]
    return words, [part for part in several if not isinstance(part, str)]


def _select_several(group: str, words: Sequence[str]) -> list[str]:
    """Return the overrides that select several options of a group, each with keys after it."""
    options = dict.fromkeys(word.split()[0] for word in words)
    keys = [key for word in words for key in word.split()[1:]]
    return [f"{group}=[{','.join(options)}]", *keys]


def _apply_settings(cfg: DictConfig, settings: dict[str, Any]) -> None:
    """Set the arguments of the Trainer, and the keys of conf/train.yaml that belong to no group."""
    arguments = inspect.signature(Trainer.__init__).parameters.keys() - {"self"}
    keys = ("samples", "evaluate", "compile", "start", "channels_last", "on_nan", "published")
    for name, value in settings.items():
        if name not in arguments and name not in keys:
            raise UserError(
                f"{name}={value}: fit takes arguments of Lightning's Trainer, and "
                f"{', '.join(keys)}; {suggest(name, [*arguments, *keys])}"
            )
        if name in ("strategy", "num_nodes"):
            raise UserError(
                f"{name}={value}: fit trains in one process: use the command line with trainer=ddp"
            )
        try:
            OmegaConf.update(cfg, name if name in keys else f"trainer.{name}", value)
        except OmegaConfBaseException as error:
            raise UserError(
                f"{name}={value}: fit takes plain values: train vaelab.VAEModule with your own "
                "Trainer for objects"
            ) from error


def _is_factory(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, partial)


def _insert_slots(cfg: DictConfig, slots: Mapping[str, Any]) -> list[str]:
    """Put importable factories into the config, and return the names of the other objects."""
    given = []
    for name, value in slots.items():
        if isinstance(value, str):
            continue
        if node := describe_factory(value):
            extra: dict[str, Any] = {"_partial_": True} if name == "optimizer" else {}
            if name == "objective" and "kl" in inspect.signature(value).parameters:
                extra = {"kl": "${kl}"} if "kl" not in node else {}
            OmegaConf.update(cfg, name, node | extra, merge=False)
        else:
            given.append(name)
    return given


def _build_objective(cfg: DictConfig, slots: Mapping[str, Any]) -> Objective:
    objective, kl = slots["objective"], _build_slot(cfg, "kl", slots["kl"])
    if isinstance(objective, str) or describe_factory(objective):
        settings = {"kl": kl} if "kl" in cfg.objective else {}
        return build_from_config(cfg.objective, **settings)
    if not _is_factory(objective):
        return objective
    takes_kl = "kl" in inspect.signature(objective).parameters
    return objective(kl=kl) if takes_kl else objective()


def _build_slot(cfg: DictConfig, name: str, value: Any) -> Any:
    """Build an optimizer, a schedule or a weight of the KL."""
    if isinstance(value, str) or describe_factory(value):
        return build_from_config(cfg[name])
    return value() if _is_factory(value) and name != "optimizer" else value


def _insert_data(cfg: DictConfig, data: DataModule) -> list[str]:
    """Put the data set into the config as a file of the run folder; ["data"] if it is not saved."""
    node: dict[str, Any] = {"_target_": "vaelab.data.arrays.Arrays", "path": DATA}
    node |= {"shape": [*data.shape]} | {key: getattr(data, key) for key in DATA_KEYS}
    is_saved = isinstance(data, ArrayData) and data.nbytes <= MAX_SAVED_BYTES
    if isinstance(data, ArrayData):
        node["validation"], node["test"] = data.fractions
        node |= {"scale": data.scale, "kind": data.kind, "standardize": data.standardize}
        node |= {"factors": [*data.factors], "unordered": [*data.unordered]}
        node["augment"] = [*data.augment]
    if isinstance(data, Arrays):
        node |= asdict(data.selection)
        node |= {"path": str(Path(data.path).resolve()), "mapped": data.mapped}
        node["cache"] = str(Path(data.cache).resolve())
    OmegaConf.update(cfg, "data", node, merge=False)
    return [] if is_saved else ["data"]


def _name_parts(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return a name for each part that is no word, for tables and reports."""
    names = {}
    for name, part in parts.items():
        if isinstance(part, dict):  # the node of a factory
            names[name] = str((part.get("network") or part)["_target_"]).rpartition(".")[2]
        elif isinstance(part, ArrayData):
            names[name] = "arrays"
        elif not isinstance(part, str):
            names[name] = getattr(part, "__name__", type(part).__name__)
    return names
