import numpy as np
import pytest
import torch

import vaelab
from vaelab.data.arrays import ArrayData
from vaelab.data.counts import Counts
from vaelab.data.table import Table
from vaelab.distributions.counts import IndependentPoisson
from vaelab.distributions.point_estimates import sample_at_total
from vaelab.figures.compute.base import FigureNotApplicable
from vaelab.figures.compute.columns import (
    TableVariable,
    choose_variables,
    compute_column_samples,
    compute_reconstructed_columns,
    format_column,
    list_variables,
)

KINDS = ["real", "categorical:3", "binary", "count"]
COLUMNS = ("age", "colour=red", "colour=green", "colour=blue", "ill", "visits")
ROWS = torch.tensor(
    [[33.5, 0, 1, 0, 1, 4], [1234, 0, 0, 1, 0, 0], [torch.nan, 1, 0, 0, 0, torch.nan]]
)


@pytest.fixture
def mixed():
    x = np.array([[0.0, 1, 0, 0, 1, 4]] * 20, "f")
    x[:, 0] = np.arange(20)
    data = ArrayData({"x": x}, "the test", columns=COLUMNS, kind=KINDS)
    data.setup()
    return data


def test_one_hot_columns_are_one_variable(mixed):
    variables = list_variables(mixed)
    assert [(each.name, each.kind) for each in variables] == [
        ("age", "real"),
        ("colour", "categorical"),
        ("ill", "binary"),
        ("visits", "count"),
    ]
    assert variables[1] == TableVariable(
        "colour", "categorical", [1, 2, 3], ("red", "green", "blue")
    )


def test_category_without_column_names_is_numbered():
    data = ArrayData({"x": np.eye(3, dtype="f")[[0, 1, 2] * 5]}, "the test", kind=KINDS[1:2])
    data.setup()
    assert list_variables(data) == [
        TableVariable("x[:, 0:3]", "categorical", [0, 1, 2], ("0", "1", "2"))
    ]


def test_every_kind_is_among_the_chosen_variables():
    data = Table()
    data.setup()
    chosen = choose_variables(data, 12)
    assert [each.columns[0] for each in chosen] == [*range(11), 30]
    assert chosen[-1].kind == "binary"


def test_counts_with_the_largest_variance_are_chosen():
    data = Counts(columns=6, train=200, test=10, validation=0)
    data.setup()
    variance = data.splits["train"].images.var(0)
    chosen = {each.columns[0] for each in choose_variables(data, 2)}
    assert chosen == set(variance.argsort(descending=True)[:2].tolist())


def test_values_are_formatted_by_their_kind(mixed):
    decoded = torch.tensor([[30.0, 0.2, 0.7, 0.1, 0.8, 3.2]] * 3)
    age, colour, ill, visits = (
        format_column(ROWS, decoded, variable) for variable in list_variables(mixed)
    )
    assert age.values == ["33.5", "1,234", "missing"]
    assert (colour.values, colour.reconstructions) == (
        ["green", "blue", "red"],
        ["green 70%"] * 3,
    )
    assert (ill.values, ill.reconstructions[0]) == (["1", "0", "0"], "0.800")
    assert (visits.values, visits.reconstructions[0]) == (["4", "0", "missing"], "3.2")


def test_samples_and_reconstructions_are_in_the_units_of_the_data():
    x = np.random.default_rng(0).normal(500, 7, (60, 3)).astype("f")
    data = ArrayData({"x": x}, "the test", standardize=True)
    data.setup()
    vae = vaelab.make_model(data.shape, loss="gaussian", latent_dim=2)
    columns = compute_column_samples(vae, data, 2)
    train = data.splits["train"].images
    assert [column.name for column in columns] == ["x[:, 0]", "x[:, 1]"]
    np.testing.assert_array_equal(columns[0].data, train[:, 0])
    assert abs(columns[0].samples.mean() - 500) < 20
    listed, total = compute_reconstructed_columns(vae, data, 2)
    assert (len(listed), total) == (2, 3)
    assert listed[1].values == [f"{value:.3g}" for value in data.splits["test"].images[:5, 1]]


def test_samples_of_a_mixed_table_have_its_kinds(mixed):
    vae = vaelab.make_model(mixed.shape, loss=f"mixed loss.columns=[{','.join(KINDS)}]")
    age, colour, ill, visits = compute_column_samples(vae, mixed, 4)
    assert set(colour.samples) <= {0, 1, 2}
    assert set(colour.data) == {0}
    assert set(ill.samples) <= {0, 1}
    assert (visits.samples % 1 == 0).all()
    assert (age.samples % 1 != 0).any()


def test_samples_of_counts_have_the_totals_of_the_data():
    totals = torch.tensor([[1e6], [4e6]])
    p = IndependentPoisson(torch.tensor([[0.25, 0.75]]).log().expand(2, 2), 1, torch.tensor(1.0))
    x = torch.tensor([[0.5, 0.5]]) * totals
    torch.testing.assert_close(sample_at_total(p, x).sum(1), totals[:, 0], rtol=0.02, atol=0)


def test_other_data_than_tables_are_not_applicable(mixed):
    mixed.shape = (2, 3)
    with pytest.raises(FigureNotApplicable, match="no row of a table"):
        list_variables(mixed)
