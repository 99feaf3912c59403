"""The CSS of the page, and the HTML and JavaScript of its own components: tiles, map, sketchpad."""

CSS = """
:root { --quiet: #556; }
.dark { --quiet: #aab; }
.gradio-container { max-width: 1240px !important; width: 100% !important;
        margin: 0 auto !important; }
.gradio-container .html-container { padding: 0; }
.gradio-container .column { gap: 12px; }
.gradio-container h3 { margin: 0; font-size: 1.05rem; }
.heading h2 { margin: 0; font-size: 1.5rem; }
.heading p { margin: .2rem 0 .8rem; color: var(--quiet); }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; }
.card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: .4rem .8rem;
        background: var(--block-background-fill); }
.card b { display: block; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.card span { font-size: .8rem; color: var(--quiet); }
.figures { display: flex; gap: .8rem; }
.figures figure { flex: 1; margin: 0; text-align: center; }
.figures img, .figures .none { width: 100%; aspect-ratio: 1; object-fit: contain;
        image-rendering: pixelated; border-radius: 6px; background: #000; }
.figures .none { background: repeating-linear-gradient(45deg, transparent 0 8px,
        var(--border-color-primary) 8px 9px); }
.figures figcaption { font-size: .85rem; color: var(--quiet);
        margin-top: .3rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(48px, 1fr)); gap: 5px; }
.tiles button { padding: 0; border: 3px solid transparent; border-radius: 6px; cursor: pointer;
        background: none; line-height: 0; }
.tiles button:hover, .tiles button:focus-visible { border-color: #88CCEE; }
.tiles button[aria-pressed=true] { border-color: #332288; }
.tiles img, .strip img, .compared img { width: 100%; image-rendering: pixelated;
        border-radius: 3px; }
.strip { display: flex; gap: 4px; }
.strip img { flex: 1; min-width: 0; }
.terms { width: 100%; font-variant-numeric: tabular-nums; border-collapse: collapse; }
.terms, .terms tr, .terms td, .terms th { border: 0 !important; }
.terms td, .terms th { padding: .25rem .5rem; text-align: left; font-weight: normal;
        border-bottom: 1px solid var(--border-color-primary) !important; }
.terms td:last-child { text-align: right; }
.compared td:last-child { text-align: left; }
.compared td:not(:first-child) { width: 38%; }
.compared img { max-width: 150px; }
.message { margin: .4rem 0 0; padding: .5rem .8rem; border-left: 4px solid #CC6677;
        background: var(--block-background-fill); }
.map { position: relative; touch-action: none; cursor: crosshair; user-select: none; }
.map svg { display: block; width: 100%; border: 1px solid var(--border-color-primary);
        border-radius: 8px; background: #fff; }
.map image { image-rendering: pixelated; }
.map .dots { fill: none; stroke-width: 15; stroke-linecap: round; opacity: .8; }
.map .zero { stroke: #e4e4e7; stroke-width: 2; fill: none; }
.map text { font: bold 54px system-ui, sans-serif; text-anchor: middle;
        dominant-baseline: central; fill: #111; stroke: #fff; stroke-width: 9px;
        paint-order: stroke; }
.map .here { position: absolute; width: 22px; height: 22px; margin: -11px 0 0 -11px;
        border: 3px solid #fff; outline: 3px solid #111; border-radius: 50%;
        pointer-events: none; }
.pad canvas { width: 100%; max-width: 340px; display: block; border-radius: 8px; cursor: crosshair;
        touch-action: none; background: #000; }
.pad button { margin-top: .5rem; padding: .3rem .8rem; border-radius: 6px; font-size: .8rem;
        border: 1px solid var(--border-color-primary); cursor: pointer; }
.dials .form .block { padding: 5px 12px 9px !important; }
.dials input[type=range] { margin: 0; }
.quiet { color: var(--quiet); font-size: .85rem; margin: 0; }
"""

# The scripts pass data as the value of the component, not with the event: gradio sends a delayed
# event with the data of the previous one, but reads the value of a component at the call.

TILES_TEMPLATE = "${tiles}"
TILES_JS = """
element.addEventListener('click', event => {
  const tile = event.target.closest('[data-index]');
  if (!tile) return;
  element.querySelectorAll('[data-index]').forEach(
    button => button.setAttribute('aria-pressed', button === tile));
  props.value = Number(tile.dataset.index);
  trigger('picked');
});
"""

MAP_TEMPLATE = """<div class="map">${drawing}<div class="here"
 style="left:${100 * value[0]}%;top:${100 * value[1]}%"></div></div>"""
MAP_JS = """
const point = event => {
  const box = element.querySelector('svg').getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  props.value = [x, y].map(fraction => Math.min(Math.max(fraction, 0), 1));
  trigger('pointed');
};
element.addEventListener('pointerdown', event => {
  element.setPointerCapture(event.pointerId);
  point(event);
});
element.addEventListener('pointermove', event => { if (event.buttons & 1) point(event); });
"""

PAD_TEMPLATE = """<div class="pad"><canvas width="280" height="280"></canvas>
<button type="button">Clear</button></div>"""
PAD_JS = """
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d');
const clear = () => { pen.fillStyle = '#000'; pen.fillRect(0, 0, 280, 280); };
const position = event => {
  const box = canvas.getBoundingClientRect(), scale = 280 / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};
const stroke = event => {
  pen.lineTo(...position(event));
  pen.stroke();
  props.value = canvas.toDataURL();
  trigger('drawn');
};
Object.assign(pen, {strokeStyle: '#fff', lineWidth: 24, lineCap: 'round', lineJoin: 'round'});
clear();
canvas.addEventListener('pointerdown', event => {
  canvas.setPointerCapture(event.pointerId);
  pen.beginPath();
  pen.moveTo(...position(event));
  stroke(event);
});
canvas.addEventListener('pointermove', event => { if (event.buttons & 1) stroke(event); });
element.querySelector('button').addEventListener('click', clear);
"""
