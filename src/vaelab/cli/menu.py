"""The text of --help: an overview of the config groups, and `--help <group>` with its options.

Options of the user's own project are listed too. VAELAB_LANGUAGE=zh gives the texts in Chinese.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import wrap

from vaelab.cli import menu_texts
from vaelab.runtime.errors import UserError, suggest
from vaelab.runtime.installation import CONF, train_command
from vaelab.runtime.language import find_language
from vaelab.runtime.own_project import find_own_conf

WIDTH = 80
TITLE_WIDTH = 11
# The experiments in the overview; --help experiment describes all.
STARTING_POINTS = [
    "autoencoder_kl",
    "beta_vae",
    "colour",
    "conditional",
    "counts",
    "fashion_best",
    "flow_prior",
    "imputation",
    "iwae",
    "ladder_conv",
    "latent_flow",
    "mnist_20min",
    "mnist_best",
    "series",
    "sprites_beta_tcvae",
    "table",
    "vae_gan",
    "volume",
    "vq_vae",
]
NEXT_TO_OWN = "\N{NO-BREAK SPACE}(own)"  # after the name of an option of the user
KEYS = "keys"  # the title of the keys that belong to no group
USAGE = {
    "train": """\
{train} [group=option ...] [key=value ...]   train one run
{train} -m model=mlp,conv loss=bce,mse       one run per combination
{train} resume=runs/<run>                    resume a run or multirun

The options of each group, * is the default:
""",
    "sample": """\
vaelab sample <run> [sampler=option] [key=value ...]     images of a finished run

The options of each group, * is the default:
""",
}
HINTS = {
    "train": [
        "--help experiment describes all options of a group, --help keys those of none.",
        "model.hidden=[300,300] sets a key of the chosen option; --cfg job shows all.",
        "hydra/launcher=joblib|ray|slurm runs the jobs of -m in parallel: docs/scale.md",
    ],
    "sample": ["--help sampler describes the samplers, --help keys the keys of no group."],
}


def render_help(recipe: str, groups: Sequence[str] = ()) -> str:
    """Return the help text of the command that composes conf/<recipe>.yaml.

    Arguments:
        groups: The config groups to describe; none means an overview of all.

    Raises:
        UserError: If there is no such group.
    """
    known = [*find_groups(recipe), KEYS]
    for group in groups:
        if group not in known:
            hint = suggest(group, known) or f"choose from {', '.join(known)}"
            raise UserError(f"--help {group}: there is no such config group; {hint}")
    sections = [_render_group(recipe, group) for group in groups]
    return "\n\n".join(sections or [_render_overview(recipe)])


def _render_overview(recipe: str) -> str:
    """Return the usage, and the names of all options of each group, at most WIDTH columns wide."""
    usage, hints = (menu_texts.USAGE, menu_texts.HINTS) if _is_chinese() else (USAGE, HINTS)
    lines = [usage[recipe].format(train=train_command())]
    for group in find_groups(recipe):
        default = _find_default(recipe, group)
        names = [
            f"{'*' * (name == default)}{name}{'' if file.is_relative_to(CONF) else NEXT_TO_OWN}"
            for name, file in find_options(group).items()
            if group != "experiment" or name in STARTING_POINTS or not file.is_relative_to(CONF)
        ]
        if group == "experiment":
            names.append("...")
        lines += _wrap(group, names)
    lines += _wrap(KEYS, re.findall(r"^(\w+):", _read_own_keys(recipe), re.MULTILINE))
    return "\n".join([*lines, "", *hints[recipe]])


def _wrap(title: str, words: Iterable[str]) -> list[str]:
    text = f"{title:<{TITLE_WIDTH}}{' '.join(words)}"
    lines = wrap(text, WIDTH, subsequent_indent=" " * TITLE_WIDTH, break_long_words=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _render_group(recipe: str, group: str) -> str:
    """Return the options of a group with their first comments, or the keys of no group."""
    if group == KEYS:
        return _translate_comments(_read_own_keys(recipe))
    lines, default = [f"{group}="], _find_default(recipe, group)
    for option, file in find_options(group).items():
        mark = "*" if option == default else " "
        own = "" if file.is_relative_to(CONF) else "(own) "
        lines.append(f"  {mark} {option:20} {own}{_describe_option(group, option, file)}")
    return "\n".join(lines)


def _find_default(recipe: str, group: str) -> str | None:
    found = re.search(rf"^  - {group}: (\w+)", _read_recipe(recipe), re.MULTILINE)
    return found[1] if found else None


def _read_recipe(recipe: str) -> str:
    return (CONF / f"{recipe}.yaml").read_text(encoding="utf-8")


def _read_own_keys(recipe: str) -> str:
    """Return the part of conf/<recipe>.yaml with the keys that belong to no group."""
    return _read_recipe(recipe).split("\n\n")[1]


def find_groups(recipe: str) -> list[str]:
    """Return the config groups that conf/<recipe>.yaml selects from."""
    return re.findall(r"^  - (\w+):", _read_recipe(recipe), re.MULTILINE)


def find_optional_groups(recipe: str) -> list[str]:
    """Return the config groups that need no option."""
    return re.findall(r"^  - (\w+): null$", _read_recipe(recipe), re.MULTILINE)


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


def _is_chinese() -> bool:
    return find_language() == "zh"


def _translate_comments(text: str) -> str:
    """Return the lines of a yaml file with Chinese comments, if this is the language."""

    def translate(line: re.Match[str]) -> str:
        comment = menu_texts.KEYS.get(line["key"])
        return f"{line['setting']} # {comment}" if comment else line[0]

    pattern = re.compile(r"^(?P<setting>(?P<key> *\w+):.*?) # .*$", re.MULTILINE)
    return pattern.sub(translate, text) if _is_chinese() else text


def _describe_option(group: str, option: str, file: Path) -> str:
    """Return the line about an option: its first comment, or the Chinese text if there is one."""
    texts = menu_texts.OPTIONS.get(group, {})
    translated = texts.get(option) if _is_chinese() and file.is_relative_to(CONF) else None
    return translated or _first_comment(file)


def _first_comment(file: Path) -> str:
    text = file.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
    return text.split("\n", 1)[0].removeprefix("# ")
