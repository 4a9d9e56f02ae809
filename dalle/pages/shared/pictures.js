/** The pictures of the page, by their number. */
class Pictures {
  constructor() {
    this.data = element("pictures").textContent;
    this.ends = read("sizes").reduce((all, size) => (all.push((all.at(-1) ?? 0) + size), all), []);
  }

  /** An address for an `img`, or nothing if there is no such picture. */
  source(number) {
    const data = this.data.slice(this.ends[number - 1] ?? 0, this.ends[number] ?? 0);
    return data && `data:image/webp;base64,${data}`;
  }
}
