"""Draw the map of latents as SVG."""

import base64
import io
from html import escape

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from vaelab.explorer.explorer import Explorer
from vaelab.explorer.plane import LatentPlane
from vaelab.figures.draw.map import MAX_CLASSES, choose_class_colours

MAP_SIZE = 1000  # edge of the map in SVG units
MAP_TILES = 16  # images along each edge of the map of decoded images
LINE_HEIGHT = 50  # of the names of classes
LETTER_WIDTH = 27  # on average


def encode_png(x: Tensor) -> bytes:
    """Encode an image (C, H, W) in [0, 1] as a PNG file."""
    file = io.BytesIO()
    to_pil_image(x).save(file, "png")
    return file.getvalue()


def scatter_map_svg(explorer: Explorer) -> str:
    """Draw the latents of test images as dots in the colours of their classes.

    The name of each class is at the median of its dots, or below where names would overlap. Without
    classes, or with too many of them, all dots have one colour.
    """
    from matplotlib.colors import to_hex

    plane, classes = explorer.plane, explorer.test_classes
    if plane is None:
        return ""
    if classes is None or len(classes.unique()) > MAX_CLASSES:
        classes = torch.zeros(len(plane.points), dtype=torch.long)
    labels = classes.unique().tolist()
    groups = {label: plane.points[classes == label] for label in labels}
    colours = choose_class_colours(len(labels))
    dots = "".join(
        _svg_dots(plane, points, to_hex(colour))
        for points, colour in zip(groups.values(), colours, strict=True)
    )
    names = _place_names(plane, {explorer.name_class(label): groups[label] for label in labels})
    x, y = _svg_position(plane, 0, 0)
    axes = f"<path class='zero' d='M{x:.0f} 0V{MAP_SIZE}M0 {y:.0f}H{MAP_SIZE}'/>"
    return _svg(axes + dots + (names if len(labels) > 1 else ""))


def decoded_map_svg(plane: LatentPlane, explorer: Explorer, y: Tensor) -> str:
    """Draw a grid of the images that are decoded at the points of the plane.

    Arguments:
        y: Label (labels,) of the images.
    """
    centres = [(tile + 0.5) / MAP_TILES for tile in range(MAP_TILES)]
    points = [plane.point_at(across, down) for down in centres for across in centres]
    images = torch.stack([explorer.decode(plane.to_latent(*point), y) for point in points])
    content = base64.b64encode(encode_png(make_grid(images, MAP_TILES, padding=0))).decode()
    size = f"width='{MAP_SIZE}' height='{MAP_SIZE}' preserveAspectRatio='none'"
    return _svg(f"<image href='data:image/png;base64,{content}' {size}/>")


def _svg(content: str) -> str:
    return f"<svg viewBox='0 0 {MAP_SIZE} {MAP_SIZE}' aria-hidden='true'>{content}</svg>"


def _svg_dots(plane: LatentPlane, points: Tensor, colour: str) -> str:
    positions = [_svg_position(plane, a, b) for a, b in points.tolist()]
    path = "".join("M{:.0f} {:.0f}h0".format(*position) for position in positions)
    return f"<path class='dots' d='{path}' stroke='{colour}'/>"


def _place_names(plane: LatentPlane, groups: dict[str, Tensor]) -> str:
    """Write each name at the median of its points, or in the next free line below."""
    medians = {
        name: _svg_position(plane, *points.median(0).values.tolist())
        for name, points in groups.items()
    }
    placed: list[tuple[float, float, float]] = []  # centre and half width
    elements = []
    for name, (x, y) in sorted(medians.items(), key=lambda item: item[1][1]):
        half = min(LETTER_WIDTH * len(name), MAP_SIZE) / 2
        x = min(max(x, half), MAP_SIZE - half)
        while any(abs(x - a) < half + b and abs(y - c) < LINE_HEIGHT for a, c, b in placed):
            y += LINE_HEIGHT / 5
        placed.append((x, y, half))
        elements.append(f"<text x='{x:.0f}' y='{y:.0f}'>{escape(name)}</text>")
    return "".join(elements)


def _svg_position(plane: LatentPlane, a: float, b: float) -> tuple[float, float]:
    across, down = plane.position_of(a, b)
    return MAP_SIZE * across, MAP_SIZE * down
