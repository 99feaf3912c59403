"""The table of metrics, and its copy in docs/evaluation.md."""

from typing import get_type_hints

import pytest
from conftest import ROOT

from vaelab.runs.metrics_file import EvaluationNumbers
from vaelab.runtime.metric_names import METRICS, OTHER_METRICS, Metric, get_metric

BETTER = {True: "higher", False: "lower", None: ""}


def render_metrics():
    """Render the table of docs/evaluation.md."""
    lines = ["| key | name | unit | better | meaning |", "|---|---|---|---|---|"]
    for key, metric in METRICS.items():
        meaning = metric.meaning.replace("|", "\\|")
        name = metric.name.replace("|", "\\|")
        better = BETTER[metric.higher_is_better]
        lines.append(f"| `{key}` | {name} | {metric.unit} | {better} | {meaning} |")
    return "\n".join(lines)


def test_docs_have_the_table_of_metrics():
    assert render_metrics() in (ROOT / "docs" / "evaluation.md").read_text()


@pytest.mark.parametrize("key", [*METRICS, *OTHER_METRICS])
def test_metric_is_described_in_sentences(key):
    metric = get_metric(key)
    assert metric.meaning[0].isupper()
    assert metric.meaning.endswith(".")
    assert len(metric.name) <= 30


def test_every_metric_is_a_key_of_numbers_json():
    assert get_type_hints(EvaluationNumbers).keys() >= METRICS.keys()


def test_unknown_key_is_its_own_name():
    assert get_metric("d_loss", "nats") == Metric("d loss", "nats", "", None)
    assert str(get_metric("d_loss", "nats")) == "d loss (nats)"
    assert str(get_metric("ssim")) == "SSIM"
