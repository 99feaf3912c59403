"""The report of a multirun: <multirun>/report.html."""

import re
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaelab.report import page, run
from vaelab.report.charts import make_parallel_coordinates, make_rate_distortion_chart
from vaelab.report.drawing import (
    LAYOUTS,
    ModelDiagram,
    make_model_diagram,
    merge_model_diagrams,
)
from vaelab.report.folder import (
    format_command,
    read_multirun_overrides,
    split_override,
)
from vaelab.report.images import embed_images
from vaelab.report.jobs import (
    COLUMN_DECIMALS,
    SEED,
    SeedGroup,
    SweepJob,
    average_over_seeds,
    find_varied_keys,
    read_report_jobs,
)
from vaelab.runs.jobs import FAILED, SIZES, find_jobs
from vaelab.runtime.language import Translate
from vaelab.runtime.metric_names import get_metric, name_data_in

COMPARISON = re.compile(  # of the group of comparable jobs, see `vaelab.runs.jobs`
    r"(?P<loss>\S+) on (?P<pixels>\S+) pixels of (?P<data>.+) \((?P<measure>.+)\)"
)


def write_sweep_report(folder: Path, t: Translate) -> Path:
    """Write report.html of a multirun, and of its jobs that have none, such as failed ones.

    Returns:
        The path of the multirun's report.

    Raises:
        UserError: If a link leads out of the folder of a job.
    """
    for job in find_jobs(folder):
        if not (job / page.REPORT_FILE).exists():
            run.write_run_report(job, t)
    jobs = read_report_jobs(folder)
    t = name_data_in(t, _find_common_shape(jobs))
    values = collect_template_values(folder, jobs, t)
    return page.render_page(folder, "sweep.html", t, **values)


def _find_common_shape(jobs: list[SweepJob]) -> Any:
    """Return the shape of one x, None if it differs among the jobs."""
    shapes = [job.run.shape for job in jobs if job.run.shape]
    return shapes[0] if shapes and all(shape == shapes[0] for shape in shapes) else None


def collect_template_values(folder: Path, jobs: list[SweepJob], t: Translate) -> dict[str, Any]:
    """Return the variables of sweep.html."""
    words, keys = read_multirun_overrides(folder), find_varied_keys(jobs)
    groups = list(dict.fromkeys(job.group for job in jobs))
    members = {group: [job for job in jobs if job.group == group] for group in groups}
    images, missing = _embed_job_images(jobs, t)
    return {
        "name": folder.resolve().name,
        "title": [word for word in words if split_override(word)[0] in keys] or words,
        "command": format_command(words, "-m") if words else "",
        "jobs": jobs,
        "keys": keys,
        "columns": {
            key: (get_metric(key, translate=t), decimals)
            for key, decimals in COLUMN_DECIMALS.items()
            if key in _find_columns(jobs)
        },
        "groups": members,
        "group_names": {group: _name_group(group, t) for group in groups},
        "failed_group": FAILED,
        "links": {job.name: f"{quote(job.name)}/{page.REPORT_FILE}" for job in jobs},
        "seeds": _make_seed_tables(jobs, groups),
        "charts": _make_charts(members, t),
        "images": images,
        "missing": missing,
        "compared": _choose_compared_jobs(jobs, images),
        "labels": {job.name: job.describe(keys) for job in jobs},
        "model": _make_model_diagram(jobs, t),
        "layouts": LAYOUTS,
        "commits": _list_commits(jobs, t),
        "has_table": (folder / "table.csv").exists(),
    }


def _find_columns(jobs: list[SweepJob]) -> set[str]:
    """Return the keys of the columns: numbers of any job, and sizes in which the jobs differ."""
    finished = [job.values for job in jobs if not job.failure]
    present = {key for values in finished for key in values}
    return {
        key
        for key in present
        if key not in SIZES or len({values.get(key) for values in finished}) > 1
    }


def _name_group(group: str, t: Translate) -> str:
    """Return the title of a group of comparable jobs, with the name of the monitored metric."""
    if group == FAILED:
        return t("failed")
    words, by, monitor = group.rpartition(", ranked by ")
    metric = get_metric(monitor, translate=t).name
    found = COMPARISON.fullmatch(words)
    name = (
        t("{loss} on {pixels} pixels of {data} ({measure})", **_translate_values(found, t))
        if found
        else words
    )
    return t("{group}, ranked by {metric}", group=name, metric=metric) if by else metric


def _translate_values(found: re.Match[str], t: Translate) -> dict[str, str]:
    values = found.groupdict()
    return values | {key: t(values[key]) for key in ("pixels", "measure")}


def _make_seed_tables(
    jobs: list[SweepJob], groups: list[str]
) -> dict[str, tuple[list[str], list[SeedGroup]]]:
    """Return, for each group of comparable jobs, the settings that differ in it and the means."""
    seed_groups, tables = average_over_seeds(jobs), {}
    for group in groups:
        if rows := [seed_group for seed_group in seed_groups if seed_group.group == group]:
            keys = [key for key in rows[0].choices if len({row.choices[key] for row in rows}) > 1]
            tables[group] = keys, rows
    return tables


def _make_model_diagram(jobs: list[SweepJob], t: Translate) -> ModelDiagram | None:
    """Return the merged diagram of the finished jobs, or of all jobs if none has finished."""
    finished = [job for job in jobs if not job.failure]
    diagrams = [make_model_diagram(job.run, t) for job in finished or jobs]
    return merge_model_diagrams([diagram for diagram in diagrams if diagram])


def _make_charts(groups: dict[str, list[SweepJob]], t: Translate) -> dict[str, tuple[Any, Any]]:
    """Return the parallel coordinates and the rate-distortion chart of each group."""
    charts = {}
    for group, members in groups.items():
        monitor = str(members[0].run.numbers.get("monitor", ""))
        pair = (
            make_parallel_coordinates(members, monitor, t),
            make_rate_distortion_chart(members, t),
        )
        if group != FAILED and any(pair):
            charts[group] = pair
    return charts


def _embed_job_images(
    jobs: list[SweepJob], t: Translate
) -> tuple[dict[str, list[dict[str, str]]], int]:
    """Embed the images of all jobs.

    If the page has no room for all, the first images of every job are kept, the best jobs first.

    Returns:
        The images of each job for the page's script, and the number of images without room.
    """
    queues = [[(path, job.run.path) for path in job.run.images] for job in jobs]
    in_turns = [pair for turn in zip_longest(*queues) for pair in turn if pair]
    embedded, missing = embed_images(in_turns, t, _find_common_shape(jobs))
    images = {
        job.name: [
            {"name": image.name, "caption": image.caption, "source": image.source}
            for path in job.run.images
            if (image := embedded.get(path))
        ]
        for job in jobs
    }
    return {name: job_images for name, job_images in images.items() if job_images}, len(missing)


def _choose_compared_jobs(jobs: list[SweepJob], images: dict[str, Any]) -> list[str]:
    """Return the two jobs that are shown side by side first.

    They are the best job, and the best one that differs from it in more than the seed.
    """
    shown = [job for job in jobs if job.name in images]
    if not shown:
        return []
    first = {**shown[0].run.choices, SEED: ""}
    others = [job for job in shown[1:] if {**job.run.choices, SEED: ""} != first]
    return [shown[0].name, (others or shown)[0].name]


def _list_commits(jobs: list[SweepJob], t: Translate) -> list[str]:
    """Return the distinct git commits of the jobs."""
    commits = [job.run.numbers.get("git") or {} for job in jobs if job.run.numbers]
    return list(
        dict.fromkeys(
            f"{git.get('commit', '?')[:12]}"
            f"{t(' with uncommitted changes') if git.get('changed') else ''}"
            for git in commits
        )
    )
