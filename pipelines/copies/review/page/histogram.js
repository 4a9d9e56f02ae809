/** How alike the pairs of a set are, and the threshold: a line to be dragged, or moved by keys. */
class Histogram {
  constructor(plot, axis, moved) {
    this.plot = plot;
    this.axis = axis;
    this.moved = moved;
    this.handle = plot.querySelector("[role=slider]");
    let dragged = false;
    plot.addEventListener("pointerdown", (event) => {
      dragged = event.button === 0;
      if (!dragged) return;
      event.preventDefault(); // no text is selected meanwhile
      this.handle.focus({ preventScroll: true });
      this.#drag(event);
    });
    addEventListener("pointermove", (event) => {
      dragged &&= (event.buttons & 1) === 1; // it may have been let go outside the window
      if (dragged) this.#drag(event);
    });
    addEventListener("pointerup", () => (dragged = false));
    addEventListener("pointercancel", () => (dragged = false));
    this.handle.addEventListener("keydown", (event) => {
      const last = this.set.steps.length - 1;
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -last, End: last };
      if (!(event.key in by) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(by[event.key] * (event.shiftKey ? 10 : 1));
    });
  }

  show(set) {
    this.set = set;
    const lowest = Math.min(set.steps[0], ...set.bars.map(([bar]) => bar / 100));
    this.left = Math.min(0.95, Math.floor(lowest * 20 - 0.2) / 20);
    this.right = 1.01;
    for (const bars of this.plot.querySelectorAll(".bars")) bars.replaceChildren(this.#bars());
    this.plot.querySelector("#unknown").style.width = `${this.#percent(set.steps[0])}%`;
    this.axis.replaceChildren(...this.#ticks());
    this.handle.setAttribute("aria-valuemin", set.steps[0]);
    this.handle.setAttribute("aria-valuemax", set.steps.at(-1));
    this.draw();
  }

  /** Put the line where the set's threshold is. */
  draw() {
    const percent = this.#percent(this.set.at);
    this.handle.style.left = `${percent}%`;
    this.handle.querySelector("output").textContent = this.set.at.toFixed(3);
    this.handle.setAttribute("aria-valuenow", this.set.at);
    this.handle.setAttribute("aria-valuetext", this.set.at.toFixed(3));
    this.handle.classList.toggle("at-the-edge", percent > 96);
    this.plot.querySelector(".going").style.clipPath = `inset(0 0 0 ${percent}%)`;
  }

  move(steps) {
    this.#put(this.set.step + steps);
  }

  #put(step) {
    this.set.step = Math.max(0, Math.min(this.set.steps.length - 1, step));
    this.draw();
    this.moved();
  }

  #drag(event) {
    const box = this.plot.getBoundingClientRect();
    const value = this.left + ((event.clientX - box.left) / box.width) * (this.right - this.left);
    const { steps } = this.set;
    let nearest = 0;
    for (let step = 1; step < steps.length; step++) {
      if (Math.abs(steps[step] - value) < Math.abs(steps[nearest] - value)) nearest = step;
    }
    this.#put(nearest);
  }

  #percent(value) {
    return Math.max(0, Math.min(100, (100 * (value - this.left)) / (this.right - this.left)));
  }

  #bars() {
    const svg = createSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" });
    const most = Math.max(1, ...this.set.bars.map(([, count]) => count));
    for (const [bar, count] of this.set.bars) {
      const height = (88 * Math.log1p(count)) / Math.log1p(most);
      const x = this.#percent(bar / 100);
      const width = (0.8 * this.#percent(this.left + 0.01));
      const rect = createSvg("rect", { x, y: 100 - height, width, height });
      const title = createSvg("title");
      title.textContent = `${(bar / 100).toFixed(2)} to ${((bar + 1) / 100).toFixed(2)}: ${many(count, "pair")}`;
      rect.append(title);
      svg.append(rect);
    }
    return svg;
  }

  #ticks() {
    const range = this.right - this.left;
    const every = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((width) => range / width <= 11) ?? 1;
    const ticks = [];
    for (let n = Math.ceil(this.left / every - 1e-9); n * every <= 1 + 1e-9; n++) {
      const tick = document.createElement("span");
      tick.textContent = (n * every).toFixed(2);
      tick.style.left = `${this.#percent(n * every)}%`;
      ticks.push(tick);
    }
    return ticks;
  }
}
