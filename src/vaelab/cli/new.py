"""Write a small project of your own: `vaelab new myproject`.

The new folder has a likelihood, a data set, an experiment that uses them, and a test. Its README.md
explains each file.
"""

import argparse
import keyword
from importlib.util import find_spec
from pathlib import Path

from vaelab.runtime.errors import UserError
from vaelab.runtime.own_project import can_be_trusted

TEMPLATE = Path(__file__).parent / "project"
SUFFIXES = (".md", ".py", ".yaml")
NAME = "myproject"  # of the package in the template


def main() -> None:
    """Write the project of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the name of the folder, and of the package in it")
    write_project(parser.parse_args().name)


def write_project(name: str) -> None:
    """Write a project into a new folder of the working folder.

    Arguments:
        name: The name of the folder, and of the package in it.

    Raises:
        UserError: If the name is not free, or cannot be imported.
    """
    check_name(name)
    for source in sorted(TEMPLATE.rglob("*.*")):
        if source.suffix in SUFFIXES:
            path = Path(name, str(source.relative_to(TEMPLATE)).replace(NAME, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8").replace(NAME, name)
            path.write_text(text, encoding="utf-8")
    Path(name, name, "__init__.py").write_text(f'"""The parts of {name}."""\n', encoding="utf-8")
    print(f"{Path(name).resolve()}: see README.md, and train with")
    print(f"  cd {name}")
    print(f"  vaelab train experiment=wave --trust {name}")


def check_name(name: str) -> None:
    """Raise UserError unless a package and a folder of this name can be created."""
    is_name = name.isidentifier() and name.isascii() and name[0] != "_"
    if not is_name or keyword.iskeyword(name) or name in ("conf", "tests"):
        raise UserError(f"{name}: choose a name that Python can import, such as {NAME}")
    if Path(name).exists():
        raise UserError(f"{name} exists already: choose another name")
    if not can_be_trusted(name) or find_spec(name):
        raise UserError(f"{name} is the name of an installed package: choose another name")
