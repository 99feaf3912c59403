"""Which folders import which: arrows point down in LAYERS, which docs/design.md explains."""

import ast
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

SRC = ROOT / "src" / "vaelab"
LOOSE_FILES = {"__init__.py", "__main__.py", "train.py", "module.py", "vae.py"}
LAYERS = (  # from the top; folders and files of one layer do not import each other
    ("api",),
    ("cli",),
    ("reproduction", "explorer", "notes"),
    ("sweeps",),
    ("train",),
    ("callbacks",),
    ("report",),
    ("loggers",),
    ("figures",),
    ("evaluation",),
    ("inference",),
    ("runs",),
    ("module",),
    ("training",),
    ("estimators", "samplers"),
    ("objectives",),
    ("metrics",),
    ("kl", "schedules", "models"),
    ("vae",),
    ("priors",),
    ("posteriors",),
    ("likelihoods",),
    ("data",),
    ("distributions", "features"),
    ("runtime",),
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
MODEL = ("vae", "models", "posteriors", "priors", "likelihoods", "distributions")
MATHEMATICS = (*MODEL, "objectives", "kl", "schedules", "estimators", "metrics", "samplers")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of each import in a file, also of those for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            yield node.lineno, node.module or ""
            if node.module == "vaelab":
                yield from ((node.lineno, f"vaelab.{alias.name}") for alias in node.names)


def files() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def test_every_folder_has_a_layer():
    found = {path.name for path in SRC.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found | {"train", "module", "vae"} == DEPTH.keys()


def test_only_these_files_lie_outside_a_folder():
    assert {path.name for path in SRC.glob("*.py")} == LOOSE_FILES


def test_imports_point_down():
    wrong = []
    for path in files():
        here = layer(path)
        for line, module in imports(path):
            if module == "vaelab.__version__":
                continue
            package, _, name = module.partition(".")
            there = name.partition(".")[0]
            if package != "vaelab" or not there or there == here or here.startswith("__"):
                continue
            if DEPTH[there] <= DEPTH[here]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} must not import {module}")
    assert wrong == []


def test_the_mathematics_imports_neither_lightning_nor_hydra():
    forbidden = ("pytorch_lightning", "lightning_fabric", "hydra", "omegaconf", "wandb")
    assert [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files()
        if layer(path) in MATHEMATICS
        for line, module in imports(path)
        if module.split(".")[0] in forbidden
    ] == []


def test_the_model_does_not_import_the_data():
    assert [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files()
        if layer(path) in MODEL
        for line, module in imports(path)
        if module.startswith("vaelab.data")
    ] == []
