"""Names that version 0.1 used, so that its run folders, weights and records still open.

Configs name classes by `_target_`, checkpoints store the state of a callback under the name of its
class, and records in results/ contain the config of their run.
"""

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

TARGETS = {
    "vaelab.ddp.DDP": "vaelab.training.ddp.DDP",
    "vaelab.kl.constant.Constant": "vaelab.kl.constant.ConstantWeight",
    "vaelab.notes.codes.Codes": "vaelab.notes.latent_moments.LatentMoments",
    "vaelab.priors.categorical.Categorical": "vaelab.priors.categorical.CategoricalPrior",
    "vaelab.schedules.constant.Constant": "vaelab.schedules.constant.ConstantSchedule",
}
CALLBACKS = {"Continuation": "ResumeState"}
# Config keys that were added since, each with the value that reproduces the behaviour before it.
NEW_KEYS: dict[str, Any] = {"data.missing_fraction": 0.0}
# The same for arguments of a class: they are added to its node if that has none of them.
NEW_ARGUMENTS: dict[str, dict[str, Any]] = {
    "vaelab.data.image_folder.ImageFolder": {"depth": 16, "background": "white", "pages": "first"},
}


def rename_old_targets(cfg: DictConfig) -> DictConfig:
    """Return a config in which every old `_target_` is replaced; interpolations stay as written."""
    node: Any = current_names(OmegaConf.to_container(cfg, resolve=False))
    return cast(DictConfig, OmegaConf.create(node))


def current_names(node: Any) -> Any:
    """Return nested dicts and lists in which every old `_target_` is replaced."""
    if isinstance(node, dict):
        added = NEW_ARGUMENTS.get(str(node.get("_target_")), {})
        if added.keys() & node.keys():
            added = {}
        return {
            key: TARGETS.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else current_names(value)
            for key, value in node.items()
        } | added
    if isinstance(node, list):
        return [current_names(value) for value in node]
    return node


def rename_old_callbacks(states: dict[str, Any]) -> dict[str, Any]:
    """Return the callback states of a checkpoint under today's names of the callbacks."""
    return {CALLBACKS.get(name, name): state for name, state in states.items()}
