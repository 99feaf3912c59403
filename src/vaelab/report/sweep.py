"""The page of a multirun: <multirun>/report.html."""

from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaelab.report import page, run
from vaelab.report.charts import parallel, rate
from vaelab.report.drawing import LAYOUTS, Model, compose, merge
from vaelab.report.folder import choice, command, jobs_of, overrides_of_multirun
from vaelab.report.images import embed_images
from vaelab.report.jobs import COLUMNS, SEED, Job, Seeds, over_seeds, read_report_jobs, varied
from vaelab.report.numbers import NATS_PER_IMAGE
from vaelab.runs.jobs import FAILED

TITLES = {
    "val": ("validation", f"what jobs are ranked by, {NATS_PER_IMAGE}"),
    "elbo": ("ELBO", f"of the test images, {NATS_PER_IMAGE}"),
    "nll": ("NLL", f"of the test images, {NATS_PER_IMAGE}"),
    "kl": ("KL", NATS_PER_IMAGE),
    "reconstruction": ("recon\N{SOFT HYPHEN}struction", NATS_PER_IMAGE),
    "active_units": ("active", "latent dimensions"),
    "rmse": ("RMSE", "of a pixel"),
    "wall_s": ("time, s", "of training"),
}


def write_sweep_report(folder: Path) -> Path:
    """Make the page of a multirun, and those of its jobs that have none, such as failed ones."""
    for job in jobs_of(folder):
        if not (job / page.NAME).exists():
            run.write_run_report(job)
    return page.render_page(folder, "sweep.html", **values_of(folder, read_report_jobs(folder)))


def values_of(folder: Path, jobs: list[Job]) -> dict[str, Any]:
    """What the template takes."""
    words, keys = overrides_of_multirun(folder), varied(jobs)
    groups = list(dict.fromkeys(job.group for job in jobs))
    members = {group: [job for job in jobs if job.group == group] for group in groups}
    pictures, missing = _pictures(jobs)
    return {
        "name": folder.resolve().name,
        "title": [word for word in words if choice(word)[0] in keys] or words,
        "command": command(words, "-m") if words else "",
        "jobs": jobs,
        "keys": keys,
        "columns": {
            key: (*TITLES[key], places)
            for key, places in COLUMNS.items()
            if any(key in job.values for job in jobs)
        },
        "groups": members,
        "failed_group": FAILED,
        "links": {job.name: f"{quote(job.name)}/{page.NAME}" for job in jobs},
        "seeds": _seeds(jobs, groups),
        "charts": _charts(members),
        "pictures": pictures,
        "missing": missing,
        "beside": _beside(jobs, pictures),
        "labels": {job.name: job.said(keys) for job in jobs},
        "model": _model(jobs),
        "layouts": LAYOUTS,
        "commits": _commits(jobs),
        "has_table": (folder / "table.csv").exists(),
    }


def _seeds(jobs: list[Job], groups: list[str]) -> dict[str, tuple[list[str], list[Seeds]]]:
    """Of each group the choices that differ in it, and the means."""
    means, found = over_seeds(jobs), {}
    for group in groups:
        if rows := [each for each in means if each.group == group]:
            keys = [key for key in rows[0].choices if len({row.choices[key] for row in rows}) > 1]
            found[group] = keys, rows
    return found


def _model(jobs: list[Job]) -> Model | None:
    """Of the jobs that did not fail, where there are some."""
    whole = [job for job in jobs if not job.failed]
    return merge([model for job in whole or jobs if (model := compose(job.run))])


def _charts(groups: dict[str, list[Job]]) -> dict[str, tuple[Any, Any]]:
    found = {}
    for group, members in groups.items():
        monitor = str(members[0].run.numbers.get("monitor", ""))
        both = (parallel(members, monitor), rate(members))
        if group != FAILED and any(both):
            found[group] = both
    return found


def _pictures(jobs: list[Job]) -> tuple[dict[str, list[dict[str, str]]], int]:
    """The pictures of each job for the page's script, and how many there is no room for."""
    queues = [[(path, job.run.path) for path in job.run.pictures] for job in jobs]
    by_turns = [pair for turn in zip_longest(*queues) for pair in turn if pair]
    found, missing = embed_images(
        by_turns
    )  # if not all, the first ones of every job, the best jobs first
    shown = {
        job.name: [
            {"name": found[path].name, "caption": found[path].caption, "source": found[path].source}
            for path in job.run.pictures
            if path in found
        ]
        for job in jobs
    }
    return {name: each for name, each in shown.items() if each}, len(missing)


def _beside(jobs: list[Job], pictures: dict[str, Any]) -> list[str]:
    """The first two to be shown: the best job, and one that differs from it by more than a seed."""
    shown = [job for job in jobs if job.name in pictures]
    if not shown:
        return []
    first = {**shown[0].run.choices, SEED: ""}
    others = [job for job in shown[1:] if {**job.run.choices, SEED: ""} != first]
    return [shown[0].name, (others or shown)[0].name]


def _commits(jobs: list[Job]) -> list[str]:
    """The git commits that the jobs ran on; more than one is worth knowing."""
    found = [job.run.numbers.get("git") or {} for job in jobs if job.run.numbers]
    return list(
        dict.fromkeys(
            f"{git.get('commit', '?')[:12]}{' with uncommitted changes' * bool(git.get('changed'))}"
            for git in found
        )
    )
