/** What a person said of pairs: what the page came with, and what was marked on it since, kept by the browser. */
class Marks {
  constructor(fingerprint, decisions) {
    this.place = `dedup-review ${fingerprint}`;
    this.before = new Map(decisions.map(([set, key, reference, decision]) => [Marks.name(set, key, reference), decision]));
    this.since = new Map();
    this.steps = [];
    try {
      this.since = new Map(JSON.parse(localStorage.getItem(this.place) ?? "[]"));
    } catch {
      // a browser that keeps nothing, or something else under this name: the page works without
    }
  }

  static name(set, key, reference) {
    return JSON.stringify([set, key, reference]);
  }

  /** "copy", "different" or "undecided". */
  of(name) {
    return this.since.get(name) ?? this.before.get(name) ?? "undecided";
  }

  mark(name, decision) {
    this.steps.push([name, this.of(name)]);
    this.#put(name, decision);
  }

  /** Take back the last mark; gives the pair's name, or undefined if there is none. */
  undo() {
    const step = this.steps.pop();
    if (step) this.#put(...step);
    return step?.[0];
  }

  #put(name, decision) {
    if (decision === (this.before.get(name) ?? "undecided")) this.since.delete(name);
    else this.since.set(name, decision);
    try {
      localStorage.setItem(this.place, JSON.stringify([...this.since]));
    } catch {
      // they last as long as the page is open
    }
  }

  /** How many pairs are decided. */
  get count() {
    const names = new Set([...this.before.keys(), ...this.since.keys()]);
    return [...names].filter((name) => this.of(name) !== "undecided").length;
  }

  /** All that is decided, those of pairs that are not on the page too: as `--decisions` reads it. */
  decided() {
    const all = new Map([...this.before, ...this.since]);
    return [...all]
      .filter(([, decision]) => decision !== "undecided")
      .map(([name, decision]) => [JSON.parse(name), decision])
      .sort(([a], [b]) => compare(a[0], b[0]) || compare(a[1], b[1]) || compare(a[2], b[2]))
      .map(([[reference_set, key, reference_id], decision]) => ({ key, reference_set, reference_id, decision }));
  }
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
