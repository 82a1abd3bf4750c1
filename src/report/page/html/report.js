(() => {
  const chart = document.getElementById("curves");
  const figure = JSON.parse(document.getElementById("figure").textContent);
  const epochs = figure.data.flatMap((curve) => curve.x);
  const first = Math.min(...epochs);
  const last = Math.max(...epochs);
  const air = Math.max(0.02 * (last - first), first === last ? 0.5 : 0.15);

  // Whole epochs, a round number of them apart, as many as there is room for.
  const step = ([from, to]) => {
    const least = (to - from) / Math.max(2, chart.clientWidth / 64);
    const power = 10 ** Math.floor(Math.log10(least));
    return Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least * (1 - 1e-9)));
  };

  const axis = figure.layout.xaxis;
  Object.assign(axis, { range: [Math.max(first - air, Math.min(first, 0.5)), last + air], tick0: 0 });
  axis.dtick = step(axis.range);
  // A double click goes back to this range.
  figure.config.doubleClick = "reset";
  if (chart.clientWidth < 760) {
    // No room for buttons; and a finger scrolls the page.
    figure.config.displayModeBar = false;
    figure.layout.dragmode = false;
  }
  Plotly.newPlot(chart, figure.data, figure.layout, figure.config).then(() => {
    const adapt = () => {
      const dtick = step(chart.layout.xaxis.range);
      if (dtick !== chart.layout.xaxis.dtick) Plotly.relayout(chart, { "xaxis.dtick": dtick });
    };
    chart.on("plotly_relayout", adapt);
    addEventListener("resize", adapt);
  });
})();
