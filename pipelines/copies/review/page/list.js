/** A long list of which only the rows in sight are in the document. All rows are equally high. */
class LongList {
  constructor(viewport, rows, { make, paint }) {
    this.viewport = viewport;
    this.rows = rows;
    this.make = make;
    this.paint = paint;
    this.shown = new Map();
    this.items = [];
    this.current = 0;
    viewport.addEventListener("scroll", () => this.#render(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(viewport);
  }

  show(items, current = 0) {
    this.items = items;
    this.current = Math.max(0, Math.min(current, items.length - 1));
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.#measure();
  }

  /** Paint the rows in sight again, because something about them changed. */
  repaint() {
    for (const [index, row] of this.shown) this.#paint(index, row);
  }

  select(index, { scroll = true, focus = true } = {}) {
    if (!this.items.length) return;
    this.current = Math.max(0, Math.min(index, this.items.length - 1));
    if (scroll) this.#reveal();
    this.repaint();
    if (focus) this.shown.get(this.current)?.focus({ preventScroll: true });
  }

  /** Rows that fit into the viewport. */
  get page() {
    return Math.max(1, Math.floor(this.viewport.clientHeight / this.height));
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.rows).getPropertyValue("--row"));
    if (height !== this.height) {
      for (const row of this.shown.values()) row.remove();
      this.shown.clear();
    }
    this.height = height;
    this.rows.style.height = `${this.items.length * height}px`;
    this.#render();
  }

  #reveal() {
    const top = this.current * this.height;
    const { scrollTop, clientHeight } = this.viewport;
    if (top < scrollTop) this.viewport.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.viewport.scrollTop = top + this.height - clientHeight;
    this.#render();
  }

  #render() {
    const margin = 3;
    const first = Math.max(0, Math.floor(this.viewport.scrollTop / this.height) - margin);
    const end = Math.min(
      this.items.length,
      Math.ceil((this.viewport.scrollTop + this.viewport.clientHeight) / this.height) + margin,
    );
    for (const [index, row] of this.shown) {
      if (index >= first && index < end) continue;
      row.remove();
      this.shown.delete(index);
    }
    for (let index = end - 1; index >= first; index--) {
      if (this.shown.has(index)) continue;
      const row = this.make(this.items[index]);
      row.style.transform = `translateY(${index * this.height}px)`;
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-setsize", this.items.length);
      row.dataset.index = index;
      this.shown.set(index, row);
      this.#paint(index, row);
      this.rows.insertBefore(row, this.shown.get(index + 1) ?? null); // in order, for those who go by the Tab key
    }
  }

  #paint(index, row) {
    row.classList.toggle("current", index === this.current);
    if (index === this.current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    this.paint(row, this.items[index], this.items[index - 1]);
  }
}
