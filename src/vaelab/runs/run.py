"""From a config to its objects and from a run folder back: the only instantiate is here."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.data.base import DataModule
from vaelab.module import VAEModule
from vaelab.runs import checkpoints, untrusted, weights
from vaelab.runs.build import build_from_config
from vaelab.runs.config_check import check_types
from vaelab.runs.recorded import RecordedRun, read_recorded_run
from vaelab.vae import VAE

BESIDE = ("logger", "callbacks", "trainer")  # groups that no model is built of


@dataclass
class Run:
    """A config with its data set and its model.

    Attributes:
        step: The optimizer steps that the model's weights have seen.
        choices: The option taken from each config group, known of a finished run.
        overrides: The words of its command.
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
    def build(cls, cfg: DictConfig, started: str | Path = ".") -> Run:
        """The objects of a config, whose relative paths begin in the folder `started`."""
        parts = deepcopy(cfg)  # to build a part resolves, in place, what it links to
        keys = [key for key in ("root", "path", "cache") if parts.data.get(key) is not None]
        data = build_from_config(
            parts.data, **{key: str(Path(started, parts.data[key])) for key in keys}
        )
        return cls(cfg, data, build_from_config(parts.module, vae={"shape": list(data.shape)}))

    @classmethod
    def open(cls, path: str | Path, checkpoint: str = "best", ready: bool = True) -> Run:
        """A finished run with the weights of checkpoints/{best,last}.ckpt, its data set ready.

        Arguments:
            path: The run folder; or a model.safetensors, or the folder that it lies in.
            ready: Whether the data set is read, which may not be there.
        """
        path = Path(path)
        file = weights.find_weights_file(path)
        if file is not None and checkpoint != "best":
            raise ValueError(f"{file} has no other weights: leave out checkpoint {checkpoint}")
        found = read_recorded_run(path)
        run = cls._build_untrusted(found, path)
        run.choices, run.overrides = found.choices, found.overrides
        run.load(file or path / "checkpoints" / f"{checkpoint}.ckpt")
        if ready:
            run.load_data()
        return run

    @classmethod
    def _build_untrusted(cls, found: RecordedRun, path: Path) -> Run:
        """The objects of a config that anybody may have written."""
        untrusted.check_config(found.cfg)
        for part, kind in (("data", DataModule), ("module", VAEModule)):
            target = OmegaConf.select(found.cfg, f"{part}._target_")
            if target is None or not issubclass(get_object(target), kind):
                raise ValueError(f"{path}: {part} of its config is no {kind.__name__}")
        try:
            for group in found.cfg:
                node = found.cfg._get_node(group)  # unresolved: a folder is only known to Hydra
                if group not in BESIDE and isinstance(node, DictConfig):
                    check_types(node, f"{group}.")
            return cls.build(found.cfg, found.started)
        except (ValueError, OSError, OmegaConfBaseException):
            raise
        except Exception as error:
            raise ValueError(
                f"{path}: its config cannot be built ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]})"
            ) from error

    def load_data(self) -> None:
        """Read the data set."""
        self.data.prepare_data()
        self.data.setup()

    def replace_data(self, data: DictConfig) -> None:
        """Read another data set of the same shape, its pixels made what they were in training."""
        kinds = {key: self.cfg.data[key] for key in ("binarize", "dequantize")}
        self.cfg.data, shape = data, self.data.shape
        self.cfg.data.merge_with(kinds)
        self.data = build_from_config(self.cfg.data)
        if self.data.shape != shape:
            raise ValueError(
                f"this data set has x of {list(self.data.shape)}, the run of {list(shape)}: choose "
                "another one"
            )
        self.load_data()

    def load(self, path: Path) -> None:
        """Take the weights of a checkpoint, or of a model.safetensors."""
        theirs, self.step = _read(path)
        if path.suffix == ".safetensors":  # it has nothing of the objective
            ours = self.module.state_dict()
            theirs |= {name: ours[name] for name in ours if not name.startswith("vae.")}
        try:
            self.module.load_state_dict(theirs)
        except RuntimeError as error:
            raise ValueError(
                f"{path} is of another architecture than its config: "
                + " ".join(str(error).split())[:200]
            ) from error

    def save(self, path: Path) -> None:
        """Write the weights as model.safetensors; the same run gives the same bytes."""
        header = weights.WeightsHeader(self.cfg, self.choices, self.overrides, self.step)
        weights.save_weights(header, self.vae.state_dict(), path)

    def begin(self, folder: Path) -> None:
        """Take the best weights of a finished run; prior and objective may be others."""
        if not folder.exists():
            raise FileNotFoundError(f"start={folder}: there is no such run folder")
        theirs, _ = _read(weights.find_weights_file(folder) or folder / "checkpoints" / "best.ckpt")
        ours = self.module.state_dict()
        for name in sorted(ours.keys() | theirs.keys()):
            if name in ours and name in theirs and ours[name].shape == theirs[name].shape:
                ours[name] = theirs[name]
            elif not name.startswith(("vae.prior.", "objective.")):
                raise ValueError(
                    f"start={folder} is of another architecture, see {name}: choose the model, "
                    "posterior, loss and latent_dim of its .hydra/config.yaml"
                )
        self.module.load_state_dict(ours)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The weights of a checkpoint, and the optimizer steps that they have seen."""
    if path.suffix == ".safetensors" and path.is_file():
        tensors = {f"vae.{name}": each for name, each in weights.load_weights(path).items()}
        return tensors, weights.read_header(path).step
    state = checkpoints.read_checkpoint(path)
    return state["state_dict"], state["global_step"]
