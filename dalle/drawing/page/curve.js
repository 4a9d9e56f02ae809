/** How good the best of the first N samples is on the mean, for each N that can be chosen; nothing without scores. */
class Curve {
  constructor(place, axis, stops, means) {
    this.means = means;
    this.last = Math.max(1, stops.length - 1);
    axis.replaceChildren(
      ...stops.map((n, stop) => {
        const tick = create("span", "", n.toLocaleString("en"));
        tick.style.left = `${(100 * stop) / this.last}%`;
        return tick;
      }),
    );
    place.hidden = !means.length;
    if (!means.length) return;
    this.least = Math.min(...means);
    this.range = Math.max(...means) - this.least || 1;
    const svg = createSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" });
    const points = means.map((mean, stop) => `${(100 * stop) / this.last},${this.#height(mean)}`).join(" ");
    svg.append(createSvg("polyline", { points, "vector-effect": "non-scaling-stroke" }));
    this.dot = create("span", "dot");
    place.replaceChildren(svg, this.dot);
  }

  show(stop) {
    if (!this.means.length) return;
    this.dot.style.left = `${(100 * stop) / this.last}%`;
    this.dot.style.top = `${this.#height(this.means[stop])}%`;
  }

  #height(mean) {
    return 92 - (84 * (mean - this.least)) / this.range;
  }
}
