/**
 * A long list of which only the rows in sight are in the document.
 *
 * How high a row is says the custom property `--row` of the list, or the one that `kind` names for its item. Browsers
 * lay out some 30 million pixels; a list that is higher is scrolled in proportion.
 */
class LongList {
  static highest = 16_000_000;

  constructor(viewport, rows, { make, paint, kind = () => "--row" }) {
    this.viewport = viewport;
    this.rows = rows;
    this.make = make;
    this.paint = paint;
    this.kind = kind;
    this.shown = new Map();
    this.items = [];
    this.tops = new Float64Array(1);
    this.current = 0;
    viewport.addEventListener("scroll", () => this.#render(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(viewport);
  }

  show(items, current = 0) {
    this.items = items;
    this.current = Math.max(0, Math.min(current, items.length - 1));
    this.#clear();
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

  /** Put the row's upper edge where the list begins. */
  scrollTo(index) {
    this.viewport.scrollTop = this.tops[index] / this.#ratio;
    this.#render();
  }

  /** Of a row that has no kind of its own. */
  get height() {
    return parseFloat(getComputedStyle(this.rows).getPropertyValue("--row"));
  }

  /** Rows that fit into the viewport. */
  get page() {
    return Math.max(1, Math.floor(this.viewport.clientHeight / this.height));
  }

  /** How many pixels of the list go by with one that is scrolled. */
  get #ratio() {
    const [all, seen] = [this.tops[this.items.length], this.viewport.clientHeight];
    return all > LongList.highest ? (all - seen) / (LongList.highest - seen) : 1;
  }

  /** The row at a height of the list. */
  at(top) {
    let [low, high] = [0, this.items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= top) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #clear() {
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
  }

  #measure() {
    const style = getComputedStyle(this.rows);
    const heights = new Map();
    const tops = new Float64Array(this.items.length + 1);
    for (let index = 0; index < this.items.length; index++) {
      const kind = this.kind(this.items[index]);
      if (!heights.has(kind)) heights.set(kind, parseFloat(style.getPropertyValue(kind)));
      tops[index + 1] = tops[index] + heights.get(kind);
    }
    const measures = JSON.stringify([...heights]);
    if (measures !== this.measures) this.#clear();
    this.measures = measures;
    this.tops = tops;
    this.rows.style.height = `${Math.min(tops.at(-1), LongList.highest)}px`;
    this.#render();
  }

  #reveal() {
    const [top, end] = [this.tops[this.current], this.tops[this.current + 1]];
    const { scrollTop, clientHeight } = this.viewport;
    const seen = scrollTop * this.#ratio;
    if (top < seen) this.viewport.scrollTop = top / this.#ratio;
    else if (end > seen + clientHeight) this.viewport.scrollTop = (end - clientHeight) / this.#ratio;
    this.#render();
  }

  #render() {
    const margin = 3;
    const { scrollTop, clientHeight } = this.viewport;
    const seen = scrollTop * this.#ratio;
    const first = Math.max(0, this.at(seen) - margin);
    const end = Math.min(this.items.length, this.at(seen + clientHeight) + 1 + margin);
    for (const [index, row] of this.shown) {
      if (index >= first && index < end) continue;
      row.remove();
      this.shown.delete(index);
    }
    for (let index = end - 1; index >= first; index--) {
      if (!this.shown.has(index)) this.#insert(index);
      this.shown.get(index).style.transform = `translateY(${this.tops[index] - seen + scrollTop}px)`;
    }
  }

  #insert(index) {
    const row = this.make(this.items[index]);
    row.setAttribute("aria-posinset", index + 1);
    row.setAttribute("aria-setsize", this.items.length);
    row.dataset.index = index;
    this.shown.set(index, row);
    this.#paint(index, row);
    this.rows.insertBefore(row, this.shown.get(index + 1) ?? null); // in order, for those who go by the Tab key
  }

  #paint(index, row) {
    row.classList.toggle("current", index === this.current);
    if (index === this.current) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    this.paint(row, this.items[index], this.items[index - 1]);
  }
}
