from vaelab.report.drawing import LAYOUTS, compose, merge
from vaelab.report.folder import RunFolder

SHAPE = "1\N{MULTIPLICATION SIGN}28\N{MULTIPLICATION SIGN}28"


def model(folder):
    found = compose(RunFolder.read(folder))
    assert found is not None
    return found


def test_boxes_name_options_settings_and_parameters(make_run):
    found = model(make_run())
    encoder = found.parts["encoder"]
    assert (encoder.option, encoder.settings) == ("conv", ("channels [32, 64]",))
    assert encoder.parameters == "130\N{NARROW NO-BREAK SPACE}000 parameters"
    assert found.parts["kl"].settings == ("beta 4",)
    assert found.parts["prior"].parameters == ""
    assert (found.x, found.encoder_outputs, found.z) == (SHAPE, "6", "3")


def test_an_objective_without_a_kl_has_no_box_for_its_weight(make_run):
    folder = make_run()
    path = folder / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("kl: ${kl}", "weight: 10"))
    assert "kl" not in model(folder).parts


def test_what_differs_among_jobs_is_marked_with_all_its_values(make_run):
    first = make_run("0")
    second = make_run("1", choices={"model": "mlp"})
    path = second / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("beta: 4.0", "beta: 0.5"))
    merged = merge([model(first), model(second)])
    assert merged is not None
    assert merged.parts["encoder"].option == "conv | mlp"
    assert merged.parts["kl"].settings == ("beta 4 | 0.5",)
    assert {name for name, part in merged.parts.items() if part.varied} == {
        "encoder",
        "decoder",
        "kl",
    }
    assert merge([]) is None


def test_no_box_lies_on_another_or_outside():
    for layout in LAYOUTS:
        boxes = list(layout.places.values())
        for box in boxes:
            assert box.x >= 0
            assert box.x + box.width <= layout.width
            assert box.y >= 0
            assert box.y + box.height <= layout.height
        for n, a in enumerate(boxes):
            for b in boxes[:n]:
                across = a.x < b.x + b.width and b.x < a.x + a.width
                assert not (across and a.y < b.y + b.height and b.y < a.y + a.height)
