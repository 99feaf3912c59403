"""A multirun goes on where it was interrupted: `python train.py resume=multirun/<folder>`.

The same command with hydra.sweep.dir=<folder> does it, too. Finished jobs are not run again, their
value is used; what is missing is done, and what failed is tried again.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from vaelab.runs import untrusted
from vaelab.runs.paths import MULTIRUN_RECORD, VALUE
from vaelab.runtime import slurm
from vaelab.runtime.files import atomic_write
from vaelab.runtime.overrides import quote_override

MORE = ("n_trials",)  # settings of a sweeper that may change from one start to the next
HARMLESS = re.compile(  # of Hydra's own words, what only says how many and where jobs run at a time
    r"\+?hydra(?:\.mode|/launcher|/sweeper|\.sweeper\.n_\w+|\.launcher\.(?:n_jobs|timeout_min|partition"
    r"|nodes|tasks_per_node|cpus_per_task|gpus_per_node|mem_gb|ray\.(?:init|remote)\.num_\w+))=[\w.-]+"
)
Close = Callable[[Path], bool]
open_folders: dict[Path, Close] = {}  # of the multirun of this process, until its end


def start_multirun(config: DictConfig, close: Close) -> None:
    """Record what is asked for; refuse a folder in which something else was.

    Arguments:
        close: What is to be called with the folder if an error ends the multirun.
    """
    folder = Path(config.hydra.sweep.dir)
    again = folder.is_dir() and any(folder.iterdir())
    if again and _recorded(folder) != _asked(OmegaConf.create(OmegaConf.to_yaml(config))):
        raise ValueError(
            f"hydra.sweep.dir={folder} holds something else than this multirun: choose another, or "
            f"go on with what it holds by python {sys.argv[0]} resume={folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / MULTIRUN_RECORD) as part:
        OmegaConf.save(config, part)
    open_folders[folder] = close
    print(f"if it is interrupted, {resume_hint(folder)}", flush=True)
    if "optuna" in config.hydra.sweeper._target_:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from vaelab.sweeps.optuna_study import requeue_trials  # Optuna is an extra

        if again:
            with read_write(config):
                requeue_trials(config.hydra.sweeper, folder)


def expand_resume_command(words: list[str]) -> list[str]:
    """A command line with what resume=<the folder of a multirun> stands for."""
    for word in words:
        key, _, folder = word.partition("=")
        if key == "resume" and (record := Path(folder, MULTIRUN_RECORD)).is_file():
            task, own = _words(record)
            _check(folder, own, task)
            others = [each for each in words if each not in (word, "-m", "--multirun")]
            return ["-m", *task, *own, f"hydra.sweep.dir={quote_override(folder)}", *others]
    return words


def _words(record: Path) -> tuple[list[str], list[str]]:
    """Those of a recorded command, without its folder: the config's, and Hydra's own."""
    said = untrusted.get_table(
        untrusted.get_table(untrusted.read_yaml(record), "hydra"), "overrides"
    )
    task, own = ([str(word) for word in said.get(key) or []] for key in ("task", "hydra"))
    return task, [word for word in own if not word.startswith("hydra.sweep.dir=")]


def _check(folder: str, own: Iterable[str], task: Iterable[str]) -> None:
    """Refuse words that could start a program: the folder may come from anybody."""
    strange = [word for word in own if not HARMLESS.fullmatch(word)]
    strange += [word for word in task if "_target_" in word or "${" in word or "hydra" in word]
    if strange:
        raise ValueError(
            f"resume={folder}: its command had {strange[0]}, which a folder from elsewhere may not "
            f"ask for: type the whole command again, with hydra.sweep.dir={quote_override(folder)}"
        )


def resume_hint(folder: Path) -> str:
    return f"python {sys.argv[0]} resume={folder} does what is missing of this multirun"


def read_finished_value(job: Path) -> float | None:
    """What a finished job came to; None where there is something left to do."""
    file = job / VALUE
    if not file.is_file():
        return None
    try:
        value = float(file.read_text())
    except ValueError:  # damaged: the job, which is finished, has its number again
        return None
    print(f"job {job.name} was finished before, its value is {value:g}")
    return value


def was_interrupted(folder: Path) -> bool:
    """Whether a job was stopped before: one of a multirun, or one that Slurm starts again."""
    again = (
        slurm.was_requeued() or slurm.is_worker_rank() or HydraConfig.get().mode == RunMode.MULTIRUN
    )
    return again and any(path.name != ".hydra" for path in folder.iterdir())


def _recorded(folder: Path) -> Any:
    record = folder / MULTIRUN_RECORD
    return _asked(untrusted.read_config(record)) if record.is_file() else None


def _asked(config: Any) -> Any:
    """All that was chosen for the jobs, without where and how they are run."""
    chosen: Any = OmegaConf.to_container(config, resolve=False)
    hydra = chosen.pop("hydra")
    sweeper = {key: value for key, value in hydra["sweeper"].items() if key not in MORE}
    return chosen, hydra["overrides"]["task"], sweeper
