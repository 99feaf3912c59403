"""A run: a config with its data set and its model, built from it or opened from a run folder."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import isclass
from pathlib import Path
from typing import Any, Self

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.data.base import DataModule
from vaelab.distributions.standardization import Standardization
from vaelab.module import VAEModule
from vaelab.objectives.perceptual import AUTO, choose_network
from vaelab.runs import checkpoints, weights
from vaelab.runs.config_types import check_types
from vaelab.runs.factories import list_given_model_parts
from vaelab.runs.optimizer_settings import drop_unused_optimizer_settings
from vaelab.runs.recorded import RecordedRun, read_recorded_run
from vaelab.runtime import trusted_config
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import MissingFileError, UserError
from vaelab.runtime.files import expand_home
from vaelab.runtime.overrides import DATA_PATHS
from vaelab.runtime.private_api import config_node
from vaelab.vae import VAE

STATISTICS = {"vae.x_mean", "vae.x_deviation"}  # of standardized data
PERCEPTUAL = "vaelab.objectives.perceptual.Perceptual"
GROUPS_OUTSIDE_THE_MODEL = ("logger", "callbacks", "trainer")


@dataclass
class RunParts:
    """A config with its data set and its model.

    Attributes:
        cfg: The composed config.
        data: The data set.
        module: The LightningModule with the model.
        step: The optimizer steps taken by the model's weights.
        choices: The chosen option of each config group, known for an opened run.
        overrides: The words of the run's command, known for an opened run.
    """

    cfg: DictConfig
    data: DataModule
    module: VAEModule
    step: int = 0
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    @property
    def vae(self) -> VAE:
        return self.module.vae

    @classmethod
    def build(cls, cfg: DictConfig, started: str | Path = ".", vae: VAE | None = None) -> Self:
        """Build data set and model from a config; nothing is read yet.

        Arguments:
            started: The folder in which relative paths of the data begin.
            vae: The model, if it comes from a Python program and not from the config. The
                objective is then the ELBO, since nothing is trained.
        """
        data = cls.build_data(cfg, started)
        if vae is not None:
            return cls(cfg, data, VAEModule(vae))
        config: Any = OmegaConf.to_container(deepcopy(cfg).module, resolve=True)
        config["vae"]["shape"] = list(data.shape)
        likelihood = config["vae"]["likelihood"]
        if data.column_kinds and likelihood.get("columns", ...) is None:
            likelihood["columns"] = list(data.column_kinds)
        if data.has_missing:
            config["vae"]["missing"] = True
        objective = config["objective"]
        if objective.get("_target_") == PERCEPTUAL and objective["network"] == AUTO:
            cfg.objective.network = objective["network"] = choose_network(AUTO, data.features)
        run = cls(cfg, data, build_from_config(DictConfig(config)))
        if cfg.get("latent_dim", 0) is None:  # it follows from the shape
            cfg.latent_dim = config["vae"]["latent_dim"] = run.vae.latent_dim
        run.module.config = config
        return run

    @staticmethod
    def build_data(cfg: DictConfig, started: str | Path = ".") -> DataModule:
        """Build the data set of a config, as `build` does."""
        node = deepcopy(cfg).data  # building a part resolves its interpolations in place
        keys = [key for key in DATA_PATHS if node.get(key) is not None]
        paths = {key: str(Path(started, expand_home(node[key]))) for key in keys}
        return build_from_config(node, **paths)

    @classmethod
    def open(
        cls,
        path: str | Path,
        checkpoint: str = "best",
        with_data: bool = True,
        vae: VAE | None = None,
        trust: Iterable[str] = (),
    ) -> Self:
        """Open a finished run with the weights of checkpoints/{best,last}.ckpt.

        Arguments:
            path: The run folder, a model.safetensors, or the folder of a model.safetensors.
            checkpoint: best or last.
            with_data: Read the data set, which need not exist otherwise.
            vae: The model of a run whose parts a config cannot describe. Its weights are replaced.
            trust: Names of own packages whose classes and functions the config may use.

        Raises:
            MissingFileError: If there is no run, or its data set is missing.
            UserError: If the run is damaged, or its config names classes that are not trusted.
        """
        path = Path(path)
        file = weights.find_weights_file(path)
        if file is not None and checkpoint != "best":
            raise UserError(f"{file} holds one set of weights: leave out checkpoint={checkpoint}")
        record = read_recorded_run(path)
        given = list_given_model_parts(record.cfg)
        if given and vae is None:
            raise UserError(
                f"{path}: its {', '.join(given)} came from a Python program: open it there with "
                "vaelab.load(path, vae=vae), where vae is built as before"
            )
        run = cls._build_untrusted(record, path, trust, vae if given else None)
        run.choices, run.overrides = record.choices, record.overrides
        run.load(file or path / "checkpoints" / f"{checkpoint}.ckpt")
        if with_data:
            run.load_data()
        return run

    @classmethod
    def _build_untrusted(
        cls, record: RecordedRun, path: Path, trust: Iterable[str], vae: VAE | None
    ) -> Self:
        """Build the objects of a config that anybody may have written."""
        trusted_config.check_config(record.cfg, trust)
        drop_unused_optimizer_settings(record.cfg)
        for key, kind in (("data", DataModule), ("module", VAEModule)):
            target = OmegaConf.select(record.cfg, f"{key}._target_")
            found = None if target is None else get_object(target)
            if found is None or (isclass(found) and not issubclass(found, kind)):
                raise UserError(f"{path}: {key} of its config is not a {kind.__name__}")
        try:
            for group in record.cfg:
                node = config_node(record.cfg, str(group))  # its folder is only known to Hydra
                if group not in GROUPS_OUTSIDE_THE_MODEL and isinstance(node, DictConfig):
                    check_types(node, f"{group}.")
            return cls.build(record.cfg, record.started, vae)
        except (ValueError, OSError, OmegaConfBaseException):
            raise
        except Exception as error:
            raise UserError(
                f"{path}: its config cannot be built ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]})"
            ) from error

    def load_data(self) -> None:
        """Read the data set.

        Raises:
            UserError: If its values may be missing, and the model was built for complete data.
        """
        if self.data.has_missing and not self.vae.missing:
            raise UserError(
                "these data have missing values, but the model takes complete data: train it with "
                "data.missing=mask, in Python with make_model(data.shape, missing=True), or see "
                "vaelab impute"
            )
        self.data.prepare_data()
        self.data.setup()

    def replace_data(self, data: DictConfig) -> None:
        """Read another data set of the same shape, with the pixels that the model was trained on.

        Arguments:
            data: The config of the data set.

        Raises:
            UserError: If its images have another shape.
        """
        pixel_settings = {key: self.cfg.data[key] for key in ("binarize", "dequantize")}
        self.cfg.data, shape = data, self.data.shape
        self.cfg.data.merge_with(pixel_settings)
        self.data = self.build_data(self.cfg)
        if self.data.shape != shape:
            raise UserError(
                f"this data set has images of shape {list(self.data.shape)}, but the run was "
                f"trained on {list(shape)}: choose another data set"
            )
        self.data.standardization = self.vae.standardization
        self.load_data()

    def load(self, path: Path) -> None:
        """Load the weights of a checkpoint or of a model.safetensors.

        Raises:
            UserError: If the file is damaged, or of another architecture.
        """
        state, self.step = _read_weights(path)
        if state.keys() >= STATISTICS:  # of data.standardize=true, kept with the weights
            mean, deviation = (state[name].float() for name in sorted(STATISTICS, reverse=True))
            self.vae.standardization = self.data.standardization = Standardization(mean, deviation)
        self.vae.is_initialized, self.module.steps_taken = True, self.step
        has_other_objective = list_given_model_parts(self.cfg)
        if path.suffix == ".safetensors" or has_other_objective:  # take the weights of the VAE only
            own = self.module.state_dict()
            state = {name: each for name, each in state.items() if name.startswith("vae.")}
            state |= {name: own[name] for name in own if not name.startswith("vae.")}
        try:
            self.module.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"{path} has another architecture than its config: "
                + " ".join(str(error).split())[:200]
            ) from error

    def save(self, path: Path) -> None:
        """Write the weights as a model.safetensors; the same run gives the same bytes."""
        header = weights.WeightsHeader(self.cfg, self.choices, self.overrides, self.step)
        weights.save_weights(header, self.vae.state_dict(), path)

    def start_from(self, folder: Path) -> None:
        """Load the best weights of another run, whose prior and objective may differ.

        Arguments:
            folder: The run folder, or the folder of a model.safetensors.

        Raises:
            MissingFileError: If there is no such folder.
            UserError: If its model has another architecture.
        """
        if not folder.exists():
            raise MissingFileError(f"start={folder}: there is no such run folder")
        file = weights.find_weights_file(folder)
        loaded, _ = _read_weights(file or folder / "checkpoints" / "best.ckpt")
        state = self.module.state_dict()
        for name in sorted(state.keys() | loaded.keys()):
            if name in STATISTICS:  # those of the new data
                continue
            if name in state and name in loaded and state[name].shape == loaded[name].shape:
                state[name] = loaded[name]
            elif not name.startswith(("vae.prior.", "objective.", "vae.likelihood.floor")):
                raise UserError(
                    f"start={folder} has another architecture, see {name}: choose the model, "
                    "posterior, loss and latent_dim of its .hydra/config.yaml"
                )
        self.module.load_state_dict(state)


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Read the state of a VAEModule, and the optimizer steps taken."""
    if path.suffix == ".safetensors" and path.is_file():
        tensors = {f"vae.{name}": each for name, each in weights.load_weights(path).items()}
        return tensors, weights.read_header(path).step
    state = checkpoints.read_checkpoint(path)
    return state["state_dict"], state["global_step"]
