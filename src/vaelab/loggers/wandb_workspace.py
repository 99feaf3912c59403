"""The workspace of a W&B project, a saved view with panels: scripts/dashboard.py.

It needs the package wandb-workspaces, which is in the extra `dashboard`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from vaelab.figures.run_figures import FIGURES
from vaelab.loggers.run_summary import IMAGES_KEY, KL_KEY
from vaelab.loggers.wandb import STEP
from vaelab.runtime.errors import UserError
from vaelab.runtime.metric_names import METRICS, NATS_PER_IMAGE, get_metric

BEST_METRIC = "val/elbo.max"  # a summary metric


class WorkspacePanel(NamedTuple):
    """A panel of the workspace.

    Attributes:
        kind: lines (over optimizer steps) | bars (of the last values) | scatter (of two last
            values) | parallel (coordinates of choices and metrics) | images | kl
            (a bar for each latent) | table | importance (of each choice for a metric) | differences
            (between the configs of runs).
        title: The title; empty for the default of W&B.
        keys: The keys of logged metrics. Keys without a slash are keys of the config.
    """

    kind: str
    title: str = ""
    keys: Sequence[str] = ()


def _name_metric(key: str) -> str:
    """Return the name and the unit of a metric; a project may have images, series and tables."""
    return str(get_metric(key)).replace(NATS_PER_IMAGE, "nats")


def _make_line_panel(key: str, stages: Sequence[str] = ("val", "train")) -> WorkspacePanel:
    """Make a panel of a metric over optimizer steps, with a curve for each stage."""
    return WorkspacePanel("lines", _name_metric(key), [f"{stage}/{key}" for stage in stages])


def _make_bar_panel(key: str) -> WorkspacePanel:
    """Make a panel of a metric of the test set, with a bar for each run."""
    return WorkspacePanel("bars", f"{_name_metric(key)}, test set", [f"test/{key}"])


LAYOUT = {
    "Runs (compare one loss on one kind of data)": [
        _make_bar_panel("elbo"),
        _make_bar_panel("nll"),
        WorkspacePanel(
            "scatter",
            f"{METRICS['kl'].name} and {_name_metric('reconstruction')}",
            ["test/kl", "test/reconstruction"],
        ),
        WorkspacePanel(
            "parallel",
            "Choices",
            ["choices.model", "choices.loss", "latent_dim", "optimizer.lr", "kl.beta", "test/elbo"],
        ),
        WorkspacePanel("importance", "", ["test/elbo"]),
        WorkspacePanel("differences"),
    ],
    "Training": [
        *map(_make_line_panel, ("elbo", "reconstruction", "kl", "loss")),
        *(_make_line_panel(key, ["train"]) for key in ("kl_weight", "lr")),
    ],
    "Figures": [WorkspacePanel("images", name, [f"figures/{name}"]) for name in FIGURES],
    "Latents": [
        WorkspacePanel("kl", "KL per latent dimension (nats)", [KL_KEY]),
        _make_bar_panel("active_units"),
    ],
    "Test set": [WorkspacePanel("table", "", [IMAGES_KEY])],
}


def describe_layout() -> str:
    """Describe the layout in lines, without W&B."""
    lines = [f"runs sorted by {BEST_METRIC}, curves over {STEP}"]
    for section, panels in LAYOUT.items():
        lines += ["", section]
        for kind, title, keys in panels:
            lines.append(f"  {kind:12} {title:50} {', '.join(keys)}".rstrip())
    return "\n".join(lines)


def build_workspace(entity: str, project: str, group: str | None = None) -> Any:
    """Build the workspace, without saving it.

    Arguments:
        entity: The user or team.
        project: The W&B project.
        group: The key by which runs are grouped: Group (the multirun), or a key of the config such
            as choices.model; None for no groups.
    """
    from wandb_workspaces import expr, workspaces

    by: list[Any] = []
    if group is not None:
        by = [expr.Metric(group) if group == "Group" else expr.Config(group)]
    ascending = not METRICS["elbo"].higher_is_better
    best = expr.Ordering(expr.Summary(BEST_METRIC), ascending=ascending)
    pinned = ["summary:test/elbo", "summary:test/nll"]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="vaelab",
        sections=[
            workspaces.Section(name=name, panels=[*map(_build_panel, panels)], is_open=True)
            for name, panels in LAYOUT.items()
        ],
        settings=workspaces.WorkspaceSettings(x_axis=STEP, max_runs=20),
        runset_settings=workspaces.RunsetSettings(groupby=by, order=[best], pinned_columns=pinned),
    )


def _build_panel(panel: WorkspacePanel) -> Any:
    from wandb_workspaces.reports import v2

    kind, title, keys = panel
    match kind:
        case "lines":
            return v2.LinePlot(title=title, x=STEP, y=list(keys))
        case "bars":
            return v2.BarPlot(title=title, metrics=list(keys))
        case "scatter":
            x, y = map(v2.SummaryMetric, keys)
            return v2.ScatterPlot(title=title, x=x, y=y)
        case "parallel":
            return v2.ParallelCoordinatesPlot(
                title=title, columns=[_build_column(key) for key in keys]
            )
        case "images":
            return v2.MediaBrowser(title=title, media_keys=list(keys), num_columns=1)
        case "kl":
            return _build_bar_chart(title, keys[0])
        case "table":
            return v2.WeavePanelSummaryTable(table_name=keys[0])
        case "importance":
            return v2.ParameterImportancePlot(with_respect_to=keys[0])
        case "differences":
            return v2.RunComparer(diff_only="split")
    raise UserError(f"{kind}: there is no such kind of panel")


def _build_column(key: str) -> Any:
    from wandb_workspaces.reports import v2

    metric = v2.SummaryMetric(key) if "/" in key else v2.Config(key)
    return v2.ParallelCoordinatesPlotColumn(metric=metric)


def _build_bar_chart(title: str, key: str) -> Any:
    """Build a bar chart of the table that `Wandb.add_histogram` logs."""
    from wandb_workspaces.reports import v2

    return v2.CustomChart(
        query={"historyTable": {"tableKey": key}},
        chart_name="wandb/bar/v0",
        chart_fields={"label": "number", "value": key.rpartition("/")[2]},
        chart_strings={"title": title},
    )
