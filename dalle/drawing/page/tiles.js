/** Rows of the list: a caption, then its pictures in as many columns as fit; or a picture of each caption in a row. */
class Tiles {
  static gap = 12;
  static width = 190;

  constructor(rows, facts, samples, pictures) {
    this.rows = rows;
    this.facts = facts;
    this.samples = samples;
    this.pictures = pictures;
    this.columns = 0;
  }

  /** Take the width there is; says whether the number of columns changed. */
  fit() {
    const width = this.rows.clientWidth;
    const columns = Math.max(2, Math.floor((width + Tiles.gap) / (Tiles.width + Tiles.gap)));
    const side = Math.floor((width - Tiles.gap * (columns - 1)) / columns);
    const changed = columns !== this.columns;
    this.columns = columns;
    this.rows.style.setProperty("--columns", columns);
    this.rows.style.setProperty("--side", `${side}px`);
    this.rows.style.setProperty("--row", `${side + 62}px`);
    this.rows.style.setProperty("--card", `${side + 108}px`);
    return changed;
  }

  /** What the list shows of some captions; `this.all` are the samples in it, one after the other. */
  lay(captions, by, first, show) {
    this.all = [];
    this.ofCaption = [];
    this.single = show === 1 || captions.every((caption) => this.samples.counts[caption] <= 1);
    const items = [];
    for (const caption of captions) {
      const from = this.all.length;
      const chosen = this.samples.choose(caption, by, first, show);
      for (const sample of chosen) {
        this.all.push(sample);
        this.ofCaption.push(caption);
      }
      if (this.single) continue;
      items.push({ kind: "--head", caption, from, end: from, chosen: chosen.length });
      this.#cut(items, from, "--row");
    }
    if (this.single) this.#cut(items, 0, "--card");
    return items;
  }

  #cut(items, from, kind) {
    for (let start = from; start < this.all.length; start += this.columns) {
      items.push({ kind, from: start, end: Math.min(start + this.columns, this.all.length) });
    }
  }

  make(item) {
    if (item.kind === "--head") return this.#head(item);
    const row = create("div", item.kind === "--card" ? "tiles cards" : "tiles");
    for (let place = item.from; place < item.end; place++) row.append(this.#tile(place, item.kind === "--card"));
    return row;
  }

  #head({ caption, chosen }) {
    const row = create("article", "head");
    const count = this.samples.counts[caption];
    row.append(this.#caption(caption), create("p", "of", `${this.facts.names[caption]} · ${chosen.toLocaleString("en")} of ${many(count, "sample")}`));
    return row;
  }

  /** The caption, which shows itself whole when it is pressed. */
  #caption(number) {
    const button = create("button", "caption");
    button.type = "button";
    button.dataset.caption = number;
    button.title = "Read the whole caption";
    const text = create("bdi", "", this.facts.captions[number]);
    text.dir = "auto";
    button.append(text);
    return button;
  }

  #tile(place, withCaption) {
    const sample = this.all[place];
    const caption = this.ofCaption[place];
    const tile = create("figure", "tile");
    tile.tabIndex = -1;
    tile.dataset.place = place;
    tile.dataset.sample = sample;
    const said = create("figcaption");
    if (this.samples.scored) said.append(create("strong", "score", this.samples.scores[sample].toFixed(3)));
    const likelihood = create("span", "likelihood", `${this.samples.likelihoods[sample].toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 })} nats`);
    likelihood.title = "log-likelihood of its codes";
    said.append(likelihood, create("span", "seed", `seed ${this.samples.seeds[sample]}`));
    tile.append(this.#frame(sample, caption), said);
    if (withCaption) tile.append(this.#caption(caption));
    return tile;
  }

  #frame(sample, caption) {
    const address = this.samples.address(sample);
    const frame = create(address ? "a" : "div", "frame");
    if (!address) {
      frame.append(create("span", "no-picture", "not kept"));
      return frame;
    }
    frame.href = address;
    frame.target = "_blank";
    frame.rel = "noopener";
    frame.title = this.samples.kept[this.samples.pictures[sample]][2];
    const source = this.pictures.source(this.samples.pictures[sample]);
    if (source) {
      const image = create("img");
      image.decoding = "sync";
      image.alt = this.facts.captions[caption];
      image.src = source;
      frame.append(image);
    } else {
      frame.append(create("span", "no-picture", "open the picture"));
    }
    return frame;
  }

  /** Of the list's items the one that has the sample in this place. */
  static rowOf(items, place) {
    let [low, high] = [0, items.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (items[middle].end <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
