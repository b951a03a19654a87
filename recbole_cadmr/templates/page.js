// The charts, by a plotly that lies in the page packed.
async function draw() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  // A finger scrolls past a chart instead of zooming.
  const dragmode = matchMedia("(pointer: coarse)").matches ? { dragmode: false } : {};
  for (const drawing of document.querySelectorAll("script[data-chart]")) {
    const { data, layout } = JSON.parse(drawing.textContent);
    const options = { displayModeBar: false, responsive: true };
    const chart = document.getElementById(drawing.dataset.chart);
    await Plotly.newPlot(chart, data, { ...layout, ...dragmode }, options);
    chart.on("plotly_afterplot", () => placeNames(chart));
    placeNames(chart);
  }
}
if (document.querySelector(".chart")) draw().catch(error => document.querySelectorAll(".chart:empty").forEach(chart => {
  chart.textContent = window.DecompressionStream ? `This chart cannot be drawn: ${error.message}`
    : "This chart needs a browser of 2023 or later.";
}));

// A name beside a point goes where no line, point or other name is; where that is nowhere, it is left to the pointer.
function placeNames(chart) {
  const boxes = selector => [...chart.querySelectorAll(selector)].map(e => e.getBoundingClientRect());
  const points = boxes(".points path"), names = [...chart.querySelectorAll(".textpoint")];
  if (!names.length) return;
  const lines = [...chart.querySelectorAll(".lines path, .errorbar path")].flatMap(path => {
    const place = path.getScreenCTM(), length = path.getTotalLength();
    return Array.from({ length: length / 3 }, (_, n) => path.getPointAtLength(3 * n).matrixTransform(place));
  });
  const near = 6;  // pixels from another point, whose name it would seem to be
  const meets = (a, b, gap = 0) =>
    a.left - gap < b.right && a.right + gap > b.left && a.top - gap < b.bottom && a.bottom + gap > b.top;
  const [room] = boxes(".cartesianlayer .nsewdrag, .draglayer .nsewdrag"), taken = [];
  for (const name of names) {
    name.style.translate = name.style.visibility = "";
    const own = name.getBoundingClientRect(), x = own.left + own.width / 2, y = own.top + own.height / 2;
    const far = p => Math.hypot(Math.max(own.left - p.right, p.left - own.right, 0), Math.max(own.top - p.bottom, p.top - own.bottom, 0));
    const point = points.reduce((a, b) => far(a) <= far(b) ? a : b);
    const { width: w, height: h } = own, gap = 2;
    const left = point.left - w - gap, right = point.right + gap, above = point.top - h, below = point.bottom;
    const middle = (point.left + point.right - w) / 2, level = (point.top + point.bottom - h) / 2;
    const corners = [[own.left, own.top], [left, above], [right, above], [right, below], [left, below], [right, level], [left, level], [middle, above - gap], [middle, below + gap]];
    const free = corners.map(([x, y]) => new DOMRect(x, y, w, h)).find(box =>
      box.left >= room.left && box.right <= room.right && box.top >= room.top - 24 && box.bottom <= room.bottom &&
      !lines.some(p => p.x > box.left && p.x < box.right && p.y > box.top && p.y < box.bottom) &&
      !taken.some(name => meets(name, box)) && !points.some(p => meets(p, box, p === point ? 0 : near)));
    if (free) {
      name.style.translate = `${free.left - own.left}px ${free.top - own.top}px`;
      taken.push(free);
    } else name.style.visibility = "hidden";
  }
}
