"""The text of --help: every config group with its options."""

import re
from pathlib import Path

USAGE = {
    "train": """\
python train.py [group=option ...] [key=value ...]     one run
python train.py -m model=mlp,conv loss=bce,mse         one run for each combination
python train.py resume=runs/<run>                      go on with one that was stopped
python train.py resume=multirun/<folder>               what is missing of it

Every group has a default, marked *. Keys of a group are set by its name, as in kl.beta=4.
""",
    "sample": """\
python scripts/sample.py <run> [sampler=option] [key=value ...]     images of a finished run
""",
}


def render_menu(conf: Path) -> str:
    """Every group of the config folder, its options, and the first comment of each."""
    lines = [render_menu_section(conf, recipe) for recipe in USAGE]
    lines.append("hydra/launcher=joblib|ray|slurm runs the jobs of -m side by side: docs/scale.md")
    lines.append("Hydra's own options: --hydra-help. The composed config: --cfg job")
    return "\n".join(lines)


def render_menu_section(conf: Path, name: str) -> str:
    """What can be typed after the command whose recipe is conf/<name>.yaml."""
    recipe = (conf / f"{name}.yaml").read_text()
    lines = [USAGE[name]]
    for group in _groups(conf, name):
        chosen = re.findall(rf"^  - {group}: (\w+)", recipe, re.MULTILINE)
        lines.append(f"{group}=")
        for file in sorted((conf / group).glob("*.yaml")):
            mark = "*" if file.stem in chosen else " "
            lines.append(f"  {mark} {file.stem:18} {_comment(file)}")
        lines.append("")
    own = recipe.split("\n\n")[1].splitlines()
    lines += ["Other keys", *(f"    {line}" for line in own), ""]
    return "\n".join(lines)


def _groups(conf: Path, name: str) -> list[str]:
    """Those that the recipe conf/<name>.yaml chooses from."""
    return re.findall(r"^  - (\w+):", (conf / f"{name}.yaml").read_text(), re.MULTILINE)


def _comment(file: Path) -> str:
    lines = file.read_text().removeprefix("# @package _global_\n")
    return lines.split("\n", 1)[0].removeprefix("# ")
