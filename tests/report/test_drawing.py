from vaelab.report.drawing import LAYOUTS, make_model_diagram, merge_model_diagrams
from vaelab.report.folder import RunFolder

SHAPE = "1\N{MULTIPLICATION SIGN}28\N{MULTIPLICATION SIGN}28"


def make_diagram(folder):
    diagram = make_model_diagram(RunFolder.load(folder))
    assert diagram is not None
    return diagram


def test_boxes_show_options_settings_and_parameters(make_run):
    diagram = make_diagram(make_run())
    encoder = diagram.parts["encoder"]
    assert (encoder.option, encoder.settings) == ("conv", ("channels [32, 64]",))
    assert encoder.parameters == "130\N{NARROW NO-BREAK SPACE}000 parameters"
    assert diagram.parts["kl"].settings == ("beta 4",)
    assert diagram.parts["prior"].parameters == ""
    assert (diagram.x, diagram.encoder_outputs, diagram.z) == (SHAPE, "6", "3")


def test_objective_without_kl_weight_has_no_kl_box(make_run):
    folder = make_run()
    path = folder / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("kl: ${kl}", "weight: 10"))
    assert "kl" not in make_diagram(folder).parts


def test_merged_diagram_marks_differences_with_all_values(make_run):
    first = make_run("0")
    second = make_run("1", choices={"model": "mlp"})
    path = second / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("beta: 4.0", "beta: 0.5"))
    merged = merge_model_diagrams([make_diagram(first), make_diagram(second)])
    assert merged is not None
    assert merged.parts["encoder"].option == "conv | mlp"
    assert merged.parts["kl"].settings == ("beta 4 | 0.5",)
    assert {name for name, part in merged.parts.items() if part.varied} == {
        "encoder",
        "decoder",
        "kl",
    }
    assert merge_model_diagrams([]) is None


def test_boxes_do_not_overlap_and_stay_inside():
    for layout in LAYOUTS:
        boxes = list(layout.boxes.values())
        for box in boxes:
            assert box.x >= 0
            assert box.x + box.width <= layout.width
            assert box.y >= 0
            assert box.y + box.height <= layout.height
        for n, a in enumerate(boxes):
            for b in boxes[:n]:
                overlap_in_x = a.x < b.x + b.width and b.x < a.x + a.width
                assert not (overlap_in_x and a.y < b.y + b.height and b.y < a.y + a.height)
