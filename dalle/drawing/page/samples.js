/** All samples, numbered from 0 through all captions, and which of them are the best. */
class Samples {
  constructor(facts) {
    this.counts = facts.counts;
    this.starts = facts.counts.reduce((all, count) => (all.push(all.at(-1) + count), all), [0]);
    this.total = this.starts.at(-1);
    this.seeds = Samples.#unpack("seeds", BigUint64Array);
    this.likelihoods = Samples.#unpack("likelihoods", Float64Array);
    this.scores = Samples.#unpack("scores", Float32Array);
    this.scored = this.scores.length > 0;
    this.kept = facts.kept;
    this.pictures = new Int32Array(this.total).fill(-1);
    facts.kept.forEach(([caption, sample], number) => (this.pictures[this.starts[caption] + sample] = number));
    this.orders = new Map();
  }

  static #unpack(id, Kind) {
    const bytes = Uint8Array.from(atob(element(id).textContent), (character) => character.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  /** The picture's address beside this page, or nothing if it was not kept. */
  address(sample) {
    const kept = this.kept[this.pictures[sample]];
    return kept && `./${kept[2].split("/").map(encodeURIComponent).join("/")}`;
  }

  /** Of a caption the `show` best of its `first` first samples, best first; of equal ones the first. */
  choose(caption, by, first, show) {
    const start = this.starts[caption];
    const end = start + Math.min(first, this.counts[caption]);
    const chosen = [];
    const order = this.#order(by);
    for (let place = start; place < this.starts[caption + 1] && chosen.length < show; place++) {
      if (order[place] < end) chosen.push(order[place]);
    }
    return chosen;
  }

  /** All samples, those of each caption from the best to the worst. */
  #order(by) {
    if (!this.orders.has(by)) {
      const order = Int32Array.from({ length: this.total }, (_, sample) => sample);
      const values = { score: this.scores, likelihood: this.likelihoods }[by];
      if (values) {
        for (let caption = 0; caption < this.counts.length; caption++) {
          order.subarray(this.starts[caption], this.starts[caption + 1]).sort((a, b) => values[b] - values[a] || a - b);
        }
      }
      this.orders.set(by, order);
    }
    return this.orders.get(by);
  }
}
