"""`import vaelab` is fast, and no public name is that of a submodule."""

import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import vaelab
from vaelab.runtime.errors import MissingExtraError

OPTIONAL = ("gradio", "optuna", "torch_fidelity", "wandb_workspaces", "tensorboard", "umap")


def test_import_loads_neither_torch_nor_lightning():
    code = "import sys, vaelab; print([m for m in ('torch', 'hydra', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_no_submodules():
    modules = {module.name for module in pkgutil.iter_modules(vaelab.__path__)}
    functions = {name for name in vaelab.__all__ if name.islower()}
    assert functions & modules == set()


def test_functions_stay_functions_after_every_import(monkeypatch):
    for module in pkgutil.walk_packages(vaelab.__path__, "vaelab."):
        if module.name.endswith("__main__"):
            continue
        try:
            import_module(module.name)
        except (ModuleNotFoundError, MissingExtraError) as error:
            if not str(error.name or error).startswith(OPTIONAL):
                raise
    assert vaelab.make_data([[0.5], [0.2], [0.1]], splits=(0.4, 0.3, 0.3)).shape == (1,)
    assert vaelab.make_model((2,), 1).latent_dim == 1
    for function, arguments in (
        (vaelab.load, ["nowhere"]),
        (vaelab.run_training, ["-m"]),
        (vaelab.fit, [None, "no data"]),
    ):
        with pytest.raises((vaelab.UserError, AttributeError)):
            function(*arguments)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trainn'"):
        vaelab.trainn  # noqa: B018
