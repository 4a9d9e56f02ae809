/** What a worker answered, kept by the browser so that a reload loses nothing. */
class Answers {
  constructor({ study, page, pairs }) {
    this.study = study;
    this.page = page;
    this.ids = pairs.map(([id]) => id);
    this.place = `human-study ${study} ${page}`;
    this.worker = "";
    this.given = new Map();
    try {
      const { worker, given } = JSON.parse(localStorage.getItem(this.place));
      for (const [id, one] of given) if (this.ids.includes(id)) this.given.set(id, one);
      this.worker = String(worker);
    } catch {
      // a browser that keeps nothing, or something else under this name: the page begins anew
    }
  }

  begin(worker) {
    this.worker = worker;
    this.#keep();
  }

  of(id) {
    return this.given.get(id) ?? { seconds: 0 };
  }

  answer(id, question, side) {
    this.given.set(id, { ...this.of(id), [question]: side });
    this.#keep();
  }

  /** Add the time for which a pair was looked at, until both questions were answered. */
  look(id, seconds) {
    this.given.set(id, { ...this.of(id), seconds: this.of(id).seconds + seconds });
    this.#keep();
  }

  isDone(id) {
    return Boolean(this.of(id).realistic && this.of(id).matches);
  }

  get done() {
    return this.ids.filter((id) => this.isDone(id)).length;
  }

  /** The file that is sent back. */
  toFile() {
    const answers = this.ids
      .filter((id) => this.isDone(id))
      .map((id) => ({ id, realistic: this.of(id).realistic, matches: this.of(id).matches, seconds: Math.round(10 * this.of(id).seconds) / 10 }));
    return { format_version: 1, study: this.study, page: this.page, worker: this.worker, answers };
  }

  #keep() {
    try {
      localStorage.setItem(this.place, JSON.stringify({ worker: this.worker, given: [...this.given] }));
    } catch {
      // they last as long as the page is open
    }
  }
}
