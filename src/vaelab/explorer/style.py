"""The CSS of the page, and the HTML and JavaScript of the components that gradio does not have.

gradio's plots report no pointer position, and its sketchpad has no tool selected after "Clear".
"""

CSS = """
.gradio-container { max-width: 1240px !important; }
.gradio-container .html-container { padding: 0; }
.gradio-container img, .map image { image-rendering: pixelated; }
.gradio-container button[role=tab] { max-width: 85vw; overflow: hidden; text-overflow: ellipsis; }
.picture label { position: static !important; border: 0 !important; padding: 2px 8px; }
.picture label > span { display: none !important; }
.pictures label { min-height: 3.2em; }
.picture :is(.image-container, .image-frame, button, img) { width: 100% !important;
        height: auto !important; object-fit: contain !important; }
.picture .icon-button-wrapper { display: none; }
.quiet { opacity: .75; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: .5rem; }
.cards div { border: 1px solid var(--border-color-primary); border-radius: 8px;
        padding: .3rem .5rem; font-size: .8rem; }
.cards b { display: block; font-size: 1.05rem; white-space: nowrap; }
.numbers :is(table, tr) { width: 100% !important; border: 0 !important; }
.numbers :is(th, td) { padding: .2rem .4rem !important; border-width: 0 0 1px !important;
        border-color: var(--border-color-primary) !important; font-variant-numeric: tabular-nums; }
.numbers :is(th, td):not(:first-child) { text-align: right !important; }
.gr-accordion { overflow: visible !important; }
.tiles .gallery { gap: 5px; justify-content: flex-start; }
.tiles .gallery button:focus { outline: 3px solid var(--color-accent); }
.tiles .gallery :is(.container, img) { width: 46px; height: 46px; }
.tiles.wide .gallery :is(.container, img) { width: auto; max-width: 140px; }
.map { position: relative; touch-action: none; cursor: crosshair; user-select: none; }
.map svg { display: block; border: 1px solid var(--border-color-primary); border-radius: 8px;
        background: #fff; }
.map .dots { fill: none; stroke-width: 15; stroke-linecap: round; opacity: .8; }
.map .zero { stroke: #e4e4e7; stroke-width: 2; }
.map text { font: bold 46px system-ui, sans-serif; text-anchor: middle;
        dominant-baseline: central; fill: #111; stroke: #fff; stroke-width: 9px;
        paint-order: stroke; }
.map div { position: absolute; width: 22px; height: 22px; margin: -11px 0 0 -11px;
        border: 3px solid #fff; outline: 3px solid #111; border-radius: 50%; }
.pad { width: 100%; max-width: 340px; display: block; border-radius: 8px; cursor: crosshair;
        touch-action: none; }
@media (max-width: 900px) {
  .tab-container button { padding-inline: .5rem; }
  .explore > .column:has(.pictures) { display: contents; }
  .explore .pictures { position: sticky; top: 0; z-index: 9;
        background: var(--body-background-fill); }
}
"""

# The scripts pass data as the value of the component, not with the event: gradio sends a delayed
# event with the data of the previous one, but reads the value of a component at the call.

MAP_TEMPLATE = """<div class="map" role="img" aria-label="${label}">${drawing}<div
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

PAD_TEMPLATE = '<canvas class="pad" width="280" height="280"></canvas>'
PAD_JS = """
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d');
const clear = () => { pen.fillStyle = '#000'; pen.fillRect(0, 0, 280, 280); };
const stroke = event => {
  const box = canvas.getBoundingClientRect(), scale = 280 / box.width;
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  pen.lineTo(x, y);
  pen.lineTo(x + 0.01, y);  // so that a click draws a dot
  pen.stroke();
  props.value = canvas.toDataURL();
  trigger('drawn');
};
Object.assign(pen, {strokeStyle: '#fff', lineWidth: 24, lineCap: 'round', lineJoin: 'round'});
clear();
canvas.addEventListener('pointerdown', event => {
  canvas.setPointerCapture(event.pointerId);
  pen.beginPath();
  stroke(event);
});
canvas.addEventListener('pointermove', event => { if (event.buttons & 1) stroke(event); });
watch('value', () => { if (!props.value) clear(); });
"""
