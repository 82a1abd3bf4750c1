(() => {
  const place = document.getElementById("curves");
  const { epochs, panels } = JSON.parse(document.getElementById("curve-data").textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const color = (name) => () => style(name);

  // A marker of its own for each split, so that curves differ without their colors too.
  const size = epochs.length > 100 ? 2 : epochs.length > 30 ? 3 : 4.5;
  const shapes = {
    train: (path, x, y, r) => path.arc(x, y, r, 0, 2 * Math.PI),
    validation: (path, x, y, r) => path.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
    test: (path, x, y, r) => [[0, -1], [1, 0], [0, 1], [-1, 0]].forEach(([dx, dy]) =>
      path.lineTo(x + 1.3 * r * dx, y + 1.3 * r * dy)),
  };
  const markers = (split) => (chart, series, from, to) => {
    const path = new Path2D();
    for (let at = from; at <= to; at++) {
      const value = chart.data[series][at];
      if (value == null) continue;
      const shape = new Path2D();
      shapes[split](shape, chart.valToPos(epochs[at], "x", true), chart.valToPos(value, "y", true), size * devicePixelRatio);
      path.addPath(shape);
    }
    return { fill: path };
  };

  const label = (split) => {
    const name = document.createElement("span");
    name.className = split;
    name.textContent = split;
    return name;
  };
  const series = ({ split }) => ({
    label: label(split),
    stroke: color(`--${split}`),
    width: 2,
    points: { show: true, fill: color(`--${split}`), paths: markers(split) },
    value: (_, value) => (value == null ? "–" : String(Number(value.toPrecision(4)))),
  });
  const axis = (more) => ({
    stroke: color("--quiet"),
    font: "13px system-ui, sans-serif",
    labelFont: "13px system-ui, sans-serif",
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
    ...more,
  });

  const whole = [1, 2, 5].flatMap((n) => [...Array(9).keys()].map((power) => n * 10 ** power)).sort((a, b) => a - b);
  const extent = (panel) => ({ width: panel.clientWidth, height: 300 });
  const charts = panels.map(({ metric, curves }) => {
    const panel = place.appendChild(document.createElement("div"));
    panel.appendChild(document.createElement("h3")).textContent = metric;
    const chart = new uPlot({
      ...extent(panel),
      scales: {
        x: { time: false, range: (_, from, to) => { const air = Math.max(0.02 * (to - from), 0.25); return [from - air, to + air]; } },
      },
      cursor: { sync: { key: "epoch" }, points: { size: 12 } },
      series: [{ label: "epoch", value: (_, epoch) => epoch ?? "–" }, ...curves.map(series)],
      axes: [axis({ label: "epoch", labelSize: 22, incrs: whole, space: 44, grid: { show: false } }), axis({ size: 62 })],
    }, [epochs, ...curves.map((curve) => curve.values)], panel);
    new ResizeObserver(() => panel.clientWidth !== chart.width && chart.setSize(extent(panel))).observe(panel);
    return chart;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.redraw()));
})();
