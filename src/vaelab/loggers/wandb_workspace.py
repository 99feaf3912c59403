"""The dashboard of a W&B project, as a saved view: scripts/dashboard.py.

Needs the package wandb-workspaces, the extra `dashboard`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from vaelab.figures.run_figures import FIGURES
from vaelab.loggers.run_summary import IMAGES, KL

X = "trainer/global_step"
BEST = "val/elbo.max"  # of the summary


class WorkspacePanel(NamedTuple):
    """What is shown.

    Attributes:
        kind: lines (over the optimizer steps) | bars (of the last values) | scatter (of two of
            them) | parallel (choices and numbers) | pictures | kl (a bar for each latent) | table
            | importance (of each choice for a number) | differences (between the configs of runs).
        keys: Of what is logged; of `parallel`, what has no slash is in the config.
    """

    kind: str
    title: str = ""
    keys: Sequence[str] = ()


LAYOUT = {
    "Runs (compare one loss on one kind of pixels)": [
        WorkspacePanel("bars", "ELBO of the test images (nats)", ["test/elbo"]),
        WorkspacePanel("bars", "NLL of the test images (nats)", ["test/nll"]),
        WorkspacePanel(
            "scatter", "KL and reconstruction (nats)", ["test/kl", "test/reconstruction"]
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
        WorkspacePanel("lines", "ELBO (nats)", ["val/elbo", "train/elbo"]),
        WorkspacePanel(
            "lines", "reconstruction (nats)", ["val/reconstruction", "train/reconstruction"]
        ),
        WorkspacePanel("lines", "KL (nats)", ["val/kl", "train/kl"]),
        WorkspacePanel("lines", "loss", ["val/loss", "train/loss"]),
        WorkspacePanel("lines", "weight of the KL", ["train/kl_weight"]),
        WorkspacePanel("lines", "learning rate", ["train/lr"]),
    ],
    "Pictures": [WorkspacePanel("pictures", name, [f"figures/{name}"]) for name in FIGURES],
    "Latents": [
        WorkspacePanel("kl", "KL by latent dimension (nats)", [KL]),
        WorkspacePanel("bars", "active units", ["test/active_units"]),
    ],
    "Test images": [WorkspacePanel("table", "", [IMAGES])],
}


def describe_layout() -> str:
    """The layout in lines, without W&B."""
    lines = [f"runs sorted by {BEST}, curves over {X}"]
    for section, panels in LAYOUT.items():
        lines += ["", section]
        for kind, title, keys in panels:
            lines.append(f"  {kind:12} {title:32} {', '.join(keys)}".rstrip())
    return "\n".join(lines)


def build_workspace(entity: str, project: str, group: str | None = None) -> Any:
    """The view, not saved yet.

    Arguments:
        group: What runs are grouped by: Group, that is by multirun, or a choice as choices.model.
    """
    from wandb_workspaces import expr, workspaces

    by: list[Any] = []
    if group is not None:
        by = [expr.Metric(group) if group == "Group" else expr.Config(group)]
    best = expr.Ordering(expr.Summary(BEST), ascending=False)
    pinned = ["summary:test/elbo", "summary:test/nll"]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="vaelab",
        sections=[
            workspaces.Section(name=name, panels=[_panel(each) for each in panels], is_open=True)
            for name, panels in LAYOUT.items()
        ],
        settings=workspaces.WorkspaceSettings(x_axis=X, max_runs=20),
        runset_settings=workspaces.RunsetSettings(groupby=by, order=[best], pinned_columns=pinned),
    )


def _panel(panel: WorkspacePanel) -> Any:
    from wandb_workspaces.reports import v2

    kind, title, keys = panel
    match kind:
        case "lines":
            return v2.LinePlot(title=title, x=X, y=list(keys))
        case "bars":
            return v2.BarPlot(title=title, metrics=list(keys))
        case "scatter":
            x, y = map(v2.SummaryMetric, keys)
            return v2.ScatterPlot(title=title, x=x, y=y)
        case "parallel":
            return v2.ParallelCoordinatesPlot(title=title, columns=[_column(key) for key in keys])
        case "pictures":
            return v2.MediaBrowser(title=title, media_keys=list(keys), num_columns=1)
        case "kl":
            return _bars(title, keys[0])
        case "table":
            return v2.WeavePanelSummaryTable(table_name=keys[0])
        case "importance":
            return v2.ParameterImportancePlot(with_respect_to=keys[0])
        case "differences":
            return v2.RunComparer(diff_only="split")
    raise ValueError(f"{kind}: there is no such panel")


def _column(key: str) -> Any:
    from wandb_workspaces.reports import v2

    metric = v2.SummaryMetric(key) if "/" in key else v2.Config(key)
    return v2.ParallelCoordinatesPlotColumn(metric=metric)


def _bars(title: str, key: str) -> Any:
    """The bars that `Wandb.add_histogram` logs."""
    from wandb_workspaces.reports import v2

    return v2.CustomChart(
        query={"summaryTable": {"tableKey": f"{key}_bars_table"}},
        chart_name="wandb/bar/v0",
        chart_fields={"label": "number", "value": key.rpartition("/")[2]},
        chart_strings={"title": title},
    )
