"""Fixtures of all tests: one thread, no network, configs composed as by the commands."""

import os

os.environ.update(OMP_NUM_THREADS="1", WANDB_MODE="offline")
os.environ.pop("HYDRA_FULL_ERROR", None)  # it turns one-line errors into tracebacks
# Tests must not find real data by chance: those that need it read VAELAB_REAL_DATA, or skip.
os.environ.setdefault("VAELAB_REAL_DATA", os.environ.pop("VAELAB_DATA", ""))

import copy
import functools
import gc
import hashlib
import json
import runpy
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf

from vaelab.data.fashion_mnist import FashionMNIST
from vaelab.data.mnist import MNIST

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
GRIDS = "callbacks.pictures.only=[reconstructions,samples]"
QUICK = ("logger=none", "trainer=smoke", "trainer.accelerator=cpu", "samples=2", GRIDS)

torch.set_num_threads(1)
gc.set_threshold(50_000, 20, 50)  # fewer collections save an eighth of the time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores SIGINT


def options(group: str) -> list[str]:
    """Return the names of the options of a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def slow(*cases: Any) -> list[Any]:
    """Return cases of pytest.mark.parametrize that only the slow tests run.

    Arguments:
        cases: The value of the argument, or a tuple with the values of several arguments.
    """
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@functools.cache
def composed(recipe: str, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(recipe, [*overrides])


@pytest.fixture
def config(tmp_path) -> Callable[..., DictConfig]:
    """Compose the config of a command line, with its run folder in tmp_path."""

    def compose_config(*overrides: str, recipe: str = "train") -> DictConfig:
        cfg = copy.deepcopy(composed(recipe, overrides))
        if recipe == "train":
            cfg.folder = str(tmp_path)
        return cfg

    return compose_config


@pytest.fixture
def part(config) -> Callable[..., Any]:
    """Build the part that `group=option key=value ...` selects, as train.py builds it."""
    from vaelab.runtime.build import build_from_config

    def build_part(choice: str, *settings: str, recipe: str = "train") -> Any:
        return build_from_config(config(choice, *settings, recipe=recipe)[choice.partition("=")[0]])

    return build_part


@pytest.fixture
def command(tmp_path, monkeypatch, capfd) -> Callable[..., tuple[Any, str]]:
    """Run a script of this project in this process, in tmp_path; return exit status and output."""
    state = Singleton.get_state()

    def run_script(script: str, *words: str) -> tuple[Any, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that it is restored after the test
        monkeypatch.setattr("sys.argv", [str(ROOT / script), *words])
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
            status = 0
        except SystemExit as error:
            status = error.code
        return status, "".join(capfd.readouterr())

    yield run_script
    Singleton.set_state(state)


@pytest.fixture
def shell(tmp_path) -> Callable[..., str]:
    """Run a script of this project in a subprocess, in tmp_path; return its standard output.

    The first word may also be an option of the Python interpreter, such as -m.
    """

    def run_process(script: str, *words: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, script if script[0] == "-" else str(ROOT / script), *words],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run_process


@pytest.fixture
def stopped_at(monkeypatch):
    """Send this process a signal after a given optimizer step of a training."""
    from vaelab.callbacks.checkpoint import Checkpoint

    on_train_batch_end = Checkpoint.on_train_batch_end

    def signal_after(step, number=signal.SIGTERM):
        def send(self, trainer, *args):
            if trainer.global_step == step:
                os.kill(os.getpid(), number)
            on_train_batch_end(self, trainer, *args)

        monkeypatch.setattr(Checkpoint, "on_train_batch_end", send)

    yield signal_after
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Idx(NamedTuple):
    """A folder of IDX files, and the images and labels written to them."""

    root: str
    train: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def idx(tmp_path, monkeypatch) -> Idx:
    """60 training and 20 test images of random pixels in the files of MNIST and FashionMNIST."""
    root, parts = tmp_path / "idx", {}
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
        labels = torch.arange(count) % 10
        parts[prefix] = (images, labels)
        for source in (MNIST, FashionMNIST):
            raw = root / source.__name__ / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            for name, header, array in (
                (f"{prefix}-images-idx3-ubyte", (0x803, count, 28, 28), images),
                (f"{prefix}-labels-idx1-ubyte", (0x801, count), labels.byte()),
            ):
                content = struct.pack(f">{len(header)}i", *header) + array.numpy().tobytes()
                (raw / name).write_bytes(content)
                monkeypatch.setitem(source.md5, name, hashlib.md5(content).hexdigest())
    return Idx(str(root), parts["train"], parts["t10k"])


@pytest.fixture
def train(tmp_path) -> Callable[..., dict[str, Any]]:
    """Train in this process as `python train.py ...` does; return metrics.json and the folder."""
    from vaelab.train import train as train_run

    state = Singleton.get_state()

    def train_in_process(*overrides: str, folder: str = "run") -> dict[str, Any]:
        path = tmp_path / folder
        with initialize_config_dir(str(CONF), version_base="1.3", job_name="train"):
            cfg = compose("train", [*QUICK, *overrides], return_hydra_config=True)
        OmegaConf.set_struct(cfg, False)
        cfg.hydra.runtime.output_dir = str(path)
        HydraConfig.instance().set_config(cfg)
        hydra = cfg.pop("hydra")
        (path / ".hydra").mkdir(parents=True)
        OmegaConf.save(cfg, path / ".hydra" / "config.yaml")
        OmegaConf.save({"hydra": {"runtime": hydra.runtime}}, path / ".hydra" / "hydra.yaml")
        best = train_run(cfg)
        return json.loads((path / "metrics.json").read_text()) | {"best": best, "folder": path}

    yield train_in_process
    Singleton.set_state(state)


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory) -> dict[tuple[str, ...], Path]:
    """The runs that tests of this session have trained, by their overrides."""
    return {}


@pytest.fixture
def finished_run(train, tmp_path, tmp_path_factory, finished_runs) -> Callable[..., dict[str, Any]]:
    """Does what `train` does, or copies the run if a test has trained the same overrides before.

    For tests of what can be done with a finished run.
    """

    def copy_or_train(*overrides: str, folder: str = "run") -> dict[str, Any]:
        if overrides not in finished_runs:
            trained = train(*overrides, folder=folder)["folder"]
            shared = tmp_path_factory.mktemp("finished") / "run"
            finished_runs[overrides] = shutil.copytree(trained, shared)
        else:
            shutil.copytree(finished_runs[overrides], tmp_path / folder)
        numbers = json.loads((tmp_path / folder / "metrics.json").read_text())
        return numbers | {"folder": tmp_path / folder}

    return copy_or_train


@pytest.fixture
def take_step(config) -> Callable[..., dict[str, float]]:
    """Takes one optimizer step of a run without a Trainer; gives the means of the terms.

    For tests that only ask whether a combination of options trains.
    """
    from vaelab.runs.config_check import check_run_config
    from vaelab.runs.run import RunParts

    def take_one_step(*overrides: str) -> dict[str, float]:
        cfg = config("logger=none", *overrides)
        check_run_config(cfg)
        run = RunParts.build(cfg)
        run.load_data()
        run.vae.likelihood.check_pixels(*run.data.range, run.data.pixels, run.data.column_kinds)
        images, labels = run.data.splits["train"]
        run.vae.check_labels(labels)
        run.vae.initialize(run.data.prepare(images[:100]))
        if cfg.start is not None:
            run.start_from(Path(cfg.start))
        module = run.module
        module.objective.dataset_size = len(images)
        optimizer = module.make_optimizer(module.parameter_groups())
        size = min(run.data.batch_size, 16)
        batch = run.data.prepare(images[:size], fresh=True), labels[:size]
        before = [weight.clone() for weight in module.parameters()]
        terms = module.train().terms(batch, 0)
        terms["loss"].mean().backward()
        gradients = [w.grad for w in module.parameters() if w.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        optimizer.step()
        moved = zip(before, module.parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in moved)
        return {name: term.mean().item() for name, term in terms.items()}

    return take_one_step
