"""The text of --help: every config group with its options, and the keys that belong to none.

Options of the user's own project are listed too.
"""

import re
from pathlib import Path

from vaelab.runtime.installation import CONF, train_command
from vaelab.runtime.own_project import find_own_conf

USAGE = {
    "train": """\
{train} [group=option ...] [key=value ...]     train one run
{train} -m model=mlp,conv loss=bce,mse         one run for each combination
{train} resume=runs/<run>                      resume an interrupted run
{train} resume=multirun/<folder>               run its missing and failed jobs

Every group has a default, marked *. Keys of a group are set by its name, as in kl.beta=4.
""",
    "sample": """\
vaelab sample <run> [sampler=option] [key=value ...]     images of a finished run
""",
}


def render_menu() -> str:
    """Return the help text of a training: each group, its options and their first comments."""
    lines = [render_menu_section(recipe) for recipe in USAGE]
    lines.append("hydra/launcher=joblib|ray|slurm runs the jobs of -m in parallel: docs/scale.md")
    lines.append("Hydra's own options: --hydra-help. The composed config: --cfg job")
    return "\n".join(lines)


def render_menu_section(recipe: str) -> str:
    """Return the help text of the command that composes conf/<recipe>.yaml."""
    text = (CONF / f"{recipe}.yaml").read_text(encoding="utf-8")
    lines = [USAGE[recipe].format(train=train_command())]
    for group in find_groups(recipe):
        defaults = re.findall(rf"^  - {group}: (\w+)", text, re.MULTILINE)
        lines.append(f"{group}=")
        for option, file in find_options(group).items():
            mark = "*" if option in defaults else " "
            own = "" if file.is_relative_to(CONF) else "(own) "
            lines.append(f"  {mark} {option:18} {own}{_first_comment(file)}")
        lines.append("")
    keys = text.split("\n\n")[1].splitlines()
    lines += ["Other keys", *(f"    {line}" for line in keys), ""]
    return "\n".join(lines)


def find_groups(recipe: str) -> list[str]:
    """Return the config groups that conf/<recipe>.yaml selects from."""
    text = (CONF / f"{recipe}.yaml").read_text(encoding="utf-8")
    return re.findall(r"^  - (\w+):", text, re.MULTILINE)


def find_optional_groups(recipe: str) -> list[str]:
    """Return the config groups that need no option."""
    text = (CONF / f"{recipe}.yaml").read_text(encoding="utf-8")
    return re.findall(r"^  - (\w+): null$", text, re.MULTILINE)


def find_options(group: str) -> dict[str, Path]:
    """Return the file of each option of a config group by the option's name, own ones too."""
    folders = [folder / group for folder in (CONF, find_own_conf()) if folder]
    return dict(
        sorted(
            (file.relative_to(folder).with_suffix("").as_posix(), file)
            for folder in folders
            for file in folder.rglob("*.yaml")
        )
    )


def list_options(group: str) -> list[str]:
    """Return the names of the options of a config group, own ones too."""
    return list(find_options(group))


def describe_options(group: str) -> str:
    """Return the names of the options of a config group in one line; own ones are marked."""
    options = find_options(group).items()
    return ", ".join(
        name if file.is_relative_to(CONF) else f"{name} (own)" for name, file in options
    )


def _first_comment(file: Path) -> str:
    text = file.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
    return text.split("\n", 1)[0].removeprefix("# ")
