/** A reference set: its pairs, and what would go at a threshold. */
class ReferenceSet {
  constructor(facts, names, marks) {
    Object.assign(this, facts);
    this.marks = marks;
    this.pairs = facts.pairs.map(([picture, reference, similarity, by]) => ({
      picture,
      reference,
      similarity,
      by,
      name: Marks.name(facts.name, names[picture], names[reference]),
    }));
    this.step = this.decidedStep = facts.steps.indexOf(facts.threshold);
  }

  get at() {
    return this.steps[this.step];
  }

  /** Whether a pair counts as a copy, and who says so. */
  decision(pair) {
    const mark = this.marks.of(pair.name);
    if (mark !== "undecided") return { copy: mark === "copy", by: "by hand", mark };
    if (pair.by === "exact") return { copy: true, by: "same file", mark };
    return { copy: pair.similarity >= this.at, by: "by threshold", mark };
  }

  /** Pictures and references that would go: pairs of the page one by one, the others by the step they reach. */
  going() {
    const pictures = new Set();
    const references = new Set();
    for (const pair of this.pairs) {
      if (!this.decision(pair).copy) continue;
      pictures.add(pair.picture);
      references.add(pair.reference);
    }
    for (const [picture, best] of this.best_of_picture) if (best >= this.at) pictures.add(picture);
    for (const [reference, best] of this.best_of_reference) if (best >= this.at) references.add(reference);
    const rest = (counts) => counts.slice(this.step).reduce((sum, count) => sum + count, 0);
    return {
      pictures: pictures.size + rest(this.pictures_left_out),
      references: references.size + rest(this.references_left_out),
    };
  }
}
