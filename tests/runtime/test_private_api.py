"""Private attributes of Lightning, Hydra and OmegaConf exist, and are used in one module only."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import lightning_fabric as fabric
import pytest
import torch
from conftest import ROOT
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.strategies.launchers import subprocess_script

from vaelab.runtime import private_api

SRC = ROOT / "src" / "vaelab"
LIGHTNING_FOLDERS = ("loggers", "callbacks", "training")
# documented attributes of named tuples and Hydra's configs, and torch's own
ALLOWED = {
    "_replace",
    "_asdict",
    "_fields",
    "_target_",
    "_apply",
    "_foreach_copy_",
    "_foreach_lerp_",
}
ALLOWED |= {
    "_amp_foreach_non_finite_check_and_unscale_",
    "_is_mkldnn_bf16_supported",
    "_version",
    "_BatchNorm",
}


@pytest.fixture
def trainer(tmp_path) -> Trainer:
    return Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)


def test_loop_knows_whether_gradients_accumulate_and_the_training_is_done(trainer):
    loop = trainer.fit_loop.epoch_loop
    loop.batch_progress.current.ready, trainer.fit_loop.max_batches = 1, 4
    trainer.accumulate_grad_batches = 2
    assert private_api.accumulates_gradients(trainer)
    assert not private_api.is_last_training_batch(trainer)
    loop.batch_progress.current.ready = 4
    assert not private_api.accumulates_gradients(trainer)
    assert private_api.is_last_training_batch(trainer)


def test_state_of_a_data_loader_can_be_restored():
    assert callable(_FitLoop._load_combined_loader_states)
    calls = []
    loop = SimpleNamespace(_load_combined_loader_states=lambda: calls.append(True))
    private_api.restore_loader_state(SimpleNamespace(fit_loop=loop))
    assert calls == [True]


def test_attached_trainer_is_none_without_a_trainer(trainer):
    module = LightningModule()
    assert private_api.attached_trainer(module) is None
    module.trainer = trainer
    assert private_api.attached_trainer(module) is trainer


def test_averaged_model_and_its_step_are_those_of_the_callback(trainer):
    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

    callback = WeightAveraging()
    assert private_api.averaged_model(callback) is None
    callback.setup(trainer, Module(), "fit")
    assert private_api.averaged_model(callback) is not None
    assert private_api.latest_averaged_step(callback) == 0


def test_loop_of_a_trainer_has_the_class_that_vaelab_extends(trainer):
    assert type(trainer.fit_loop.epoch_loop) is private_api.TrainingEpochLoop
    arguments = inspect.signature(private_api.TrainingEpochLoop).parameters
    assert list(arguments) == ["trainer", "min_steps", "max_steps"]


def test_launcher_uses_the_command_of_a_job(monkeypatch):
    monkeypatch.setattr(subprocess_script, "_hydra_subprocess_cmd", None)
    private_api.set_job_command(lambda rank: (["command"], "folder"))
    assert subprocess_script._hydra_subprocess_cmd(1) == (["command"], "folder")
    launcher = inspect.getsource(subprocess_script._SubprocessScriptLauncher)
    assert "_hydra_subprocess_cmd(local_rank)" in launcher


def test_result_of_a_failed_job_is_its_error():
    job, error = JobReturn(), ValueError("failed")
    job.status, job.return_value = JobStatus.FAILED, error
    assert private_api.job_result(job) is error


def test_config_node_keeps_its_interpolation():
    cfg = OmegaConf.create({"a": "${b}", "b": 1})
    assert private_api.config_node(cfg, "a")._value() == "${b}"


def find_private_uses(path: Path) -> list[str]:
    """Return uses of private attributes of other objects than self and cls, and private imports."""
    uses = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls") and node.attr[1] != "_" and node.attr not in ALLOWED:
                uses.append(f"{node.lineno}: {node.attr}")
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("vaelab"):
            names = [alias.name for alias in node.names if alias.name.startswith("_")]
            uses += [f"{node.lineno}: {name}" for name in names]
    return uses


def test_no_other_module_uses_private_attributes():
    assert [
        f"{path.relative_to(SRC)}:{use}"
        for path in sorted(SRC.rglob("*.py"))
        if path != SRC / "runtime" / "private_api.py"
        for use in find_private_uses(path)
    ] == []


def test_a_logger_logs_to_the_experiment_that_was_set(tmp_path):
    logger = CSVLogger(tmp_path)
    assert private_api.get_experiment(logger) is None
    private_api.set_experiment(logger, "experiment")
    assert logger.experiment == "experiment"


def test_a_tensorboard_option_is_passed_on(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    private_api.set_tensorboard_option(logger, "purge_step", 3)
    assert logger._kwargs == {"purge_step": 3}
    assert "**self._kwargs" in inspect.getsource(fabric.loggers.tensorboard)


def test_lightnings_writer_calls_what_is_overridden(tmp_path):
    columns = []

    class Writer(private_api.MetricsWriter):
        def rewrite_with_columns(self, names):
            columns.append(names)

    (tmp_path / "file").touch()  # Lightning's own writer would warn about it
    writer = Writer(str(tmp_path))
    for metrics in ({"a": 1}, {"b": 2}):
        writer.log_metrics(metrics, 0)
        writer.save()
    assert [sorted(names) for names in columns] == [["a", "b", "step"]]


def own_classes():
    """The classes of the modules that extend Lightning."""
    paths = [path for folder in LIGHTNING_FOLDERS for path in (SRC / folder).glob("[a-z]*.py")]
    names = [f"vaelab.{path.parent.name}.{path.stem}" for path in sorted(paths)]
    names += ["vaelab.module", "vaelab.data.base", "vaelab.runs.checkpoints"]
    values = [value for name in names for value in vars(import_module(name)).values()]
    owners = [each for each in values if inspect.isclass(each) and each.__module__ in names]
    return list(dict.fromkeys(owners))


@pytest.mark.parametrize("owner", own_classes(), ids=lambda owner: owner.__name__)
def test_a_subclass_uses_no_private_name_of_lightning(owner):
    sources = [
        inspect.getsource(base)
        for base in owner.__mro__
        if base.__module__.startswith(("pytorch_lightning", "lightning_fabric"))
    ]
    if issubclass(owner, private_api.TrainingEpochLoop):
        owner_names = {"_run_step", "_optimize"}
    else:
        owner_names = set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(owner)))
        owner_names |= {name for name in vars(owner) if re.match("_[a-z]", name)}
        owner_names -= {"_abc_impl"}
    for source in sources:
        assert not owner_names & set(re.findall(r"(?:self\.|def )(_[a-z]\w*)", source))


def test_data_sets_of_the_library_datasets_have_a_fingerprint():
    datasets = pytest.importorskip("datasets")
    sets = [datasets.Dataset.from_dict({"x": [1, 2, last]}) for last in (3, 3, 4)]
    first, same, other = map(private_api.get_dataset_fingerprint, sets)
    assert first == same != other
