/** The page: the parts put together, keys and buttons. */
const facts = read("facts");
const pictures = new Pictures();
const marks = new Marks(facts.fingerprint, facts.decisions);
const sets = facts.sets.map((one) => new ReferenceSet(one, facts.names, marks));
let set = sets[0];

const histogram = new Histogram(element("plot"), element("axis"), thresholdMoved);
const list = new LongList(element("pairs"), element("rows"), { make, paint });
const filters = {
  all: () => true,
  going: (pair) => set.decision(pair).copy,
  staying: (pair) => !set.decision(pair).copy,
  marked: (pair) => set.decision(pair).mark !== "undecided",
  open: (pair) => set.decision(pair).mark === "undecided",
};

function make(pair) {
  const row = create("article", "pair");
  row.tabIndex = -1;
  row.pair = pair;
  const similarity = create("p", "similarity", pair.similarity.toFixed(3));
  const told = create("p", "told");
  told.append(create("strong"), create("span"));
  const buttons = create("div", "marks");
  for (const [key, decision] of [["C", "copy"], ["D", "different"], ["U", "undecided"]]) {
    const button = create("button", decision, decision);
    button.type = "button";
    button.dataset.decision = decision;
    button.append(create("kbd", "", key));
    buttons.append(button);
  }
  const said = create("div", "said");
  said.append(similarity, told, buttons);
  row.append(figure(pair.picture), figure(pair.reference), said);
  return row;
}

function figure(number) {
  const one = create("figure");
  const frame = create("div", "frame");
  const source = pictures.source(number);
  if (source) {
    const image = create("img");
    image.decoding = "sync";
    image.alt = facts.captions[number] || facts.names[number];
    image.src = source;
    frame.append(image);
  } else {
    frame.append(create("span", "no-picture", "no picture"));
  }
  const caption = create("figcaption");
  const text = create("span", "caption", facts.captions[number]);
  text.title = facts.captions[number];
  const name = create("span", "name", facts.names[number]);
  name.title = facts.names[number];
  caption.append(name, text);
  one.append(frame, caption);
  return one;
}

function paint(row, pair, before) {
  const { copy, by, mark } = set.decision(pair);
  row.classList.toggle("copy", copy);
  row.classList.toggle("by-hand", mark !== "undecided");
  row.classList.toggle("first-below", pair.similarity < set.at && (!before || before.similarity >= set.at));
  const [what, who] = row.querySelector(".told").children;
  what.textContent = copy ? "copy" : "different";
  who.textContent = by;
  for (const button of row.querySelectorAll(".marks button")) {
    button.setAttribute("aria-pressed", button.dataset.decision === mark);
  }
  row.setAttribute("aria-label", `${pair.similarity.toFixed(3)}, ${what.textContent}, ${by}`);
}

function chooseSet(number) {
  if (!(number in sets)) return;
  set = sets[number];
  [...element("sets").children].forEach((tab, n) => tab.setAttribute("aria-current", n === number));
  histogram.show(set);
  refilter(0);
  element("pairs").scrollTop = 0;
  tell();
}

/** Items of the list by the filter; the current pair stays current, or what has come to its place. */
function refilter(current = list.current) {
  const pair = list.items[list.current];
  const items = set.pairs.filter(filters[element("filter").value]);
  const kept = pair ? items.indexOf(pair) : -1;
  if (items.length === list.items.length && items.every((one, n) => one === list.items[n])) list.repaint();
  else list.show(items, kept >= 0 ? kept : current);
  element("nothing").hidden = items.length > 0;
  element("nothing").textContent = set.pairs.length ? "No pair is like that." : "Nothing is like these references.";
  return kept >= 0;
}

let drawing = 0;
function thresholdMoved() {
  tell();
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => (["going", "staying"].includes(element("filter").value) ? refilter() : list.repaint()));
}

/** All the numbers of the head. */
function tell() {
  const going = set.going();
  const within = set.name === "within";
  const said = [create("b", "", going.pictures.toLocaleString("en")), ` of ${many(facts.pictures, "picture")} would go`];
  if (!within) {
    said.push(" · ", create("b", "", going.references.toLocaleString("en")), ` of ${many(set.references, "reference")} ${set.references === 1 ? "has" : "have"} a copy`);
  }
  element("counts").replaceChildren(...said);
  element("use").replaceChildren();
  if (set.step !== set.decidedStep) {
    const back = create("button", "", `back to ${set.threshold.toFixed(3)} `);
    back.type = "button";
    back.append(create("kbd", "", "R"));
    back.addEventListener("click", reset);
    const flag = within ? `--within_threshold ${set.at.toFixed(3)}` : `--threshold ${set.name}=${set.at.toFixed(3)}`;
    element("use").append(create("code", "", flag), back);
  }
  const known = set.steps[0] > histogram.left && !within ? `; below ${set.steps[0].toFixed(3)} only each reference's nearest picture` : "";
  element("legend").textContent = `${many(set.total, "pair")} by similarity, heights logarithmic${known}`;
  const decided = marks.count;
  element("said").textContent = decided ? `${decided.toLocaleString("en")} decided by hand` : "";
  const left = sets.filter((one) => one.pairs.length < one.total).map((one) => {
    const shown = one.pairs.length.toLocaleString("en");
    return `${one.name}: ${shown} of ${many(one.total, "pair")} shown, those nearest to ${one.threshold.toFixed(3)}`;
  });
  if (left.length) left.push("the counts are of all");
  element("left-out").textContent = [facts.detector, ...left, `pictures of at most ${read("side")} pixels`].join(" · ");
}

function reset() {
  histogram.move(set.decidedStep - set.step);
}

function mark(index, decision) {
  const pair = list.items[index];
  if (!pair) return;
  list.current = index;
  marks.mark(pair.name, decision);
  tell();
  if (refilter()) list.select(list.current + 1);
  else list.select(list.current);
}

function undo() {
  const name = marks.undo();
  if (!name) return;
  const place = sets.findIndex((one) => one.pairs.some((pair) => pair.name === name));
  if (place >= 0 && sets[place] !== set) chooseSet(place);
  tell();
  refilter();
  const index = list.items.findIndex((pair) => pair.name === name);
  list.select(index >= 0 ? index : list.current);
}

function nextFilter() {
  const filter = element("filter");
  filter.selectedIndex = (filter.selectedIndex + 1) % filter.options.length;
  refilter(0);
}

function nextOpen() {
  const after = list.items.findIndex((pair, n) => n > list.current && set.decision(pair).mark === "undecided");
  if (after >= 0) list.select(after);
}

function toThreshold() {
  const below = list.items.findIndex((pair) => pair.similarity < set.at);
  const index = below < 0 ? list.items.length - 1 : below;
  list.select(index);
  list.scrollTo(Math.max(0, index - 1)); // the last pair above it, then the first below
}

function exportDecisions() {
  save("decisions.json", { detector: facts.detector, pairs: marks.decided() });
  element("said").textContent = "saved; now run dedup again with --decisions decisions.json";
}

const keys = {
  ArrowDown: () => list.select(list.current + 1),
  ArrowUp: () => list.select(list.current - 1),
  j: () => list.select(list.current + 1),
  k: () => list.select(list.current - 1),
  PageDown: () => list.select(list.current + list.page),
  PageUp: () => list.select(list.current - list.page),
  Home: () => list.select(0),
  End: () => list.select(list.items.length - 1),
  c: () => mark(list.current, "copy"),
  d: () => mark(list.current, "different"),
  u: () => mark(list.current, "undecided"),
  z: undo,
  n: nextOpen,
  t: toThreshold,
  r: reset,
  f: nextFilter,
  e: exportDecisions,
  "[": () => histogram.move(-1),
  "]": () => histogram.move(1),
  "{": () => histogram.move(-10),
  "}": () => histogram.move(10),
  "?": showKeys,
};

onKeys((key) => (/^[1-9]$/.test(key) ? () => chooseSet(Number(key) - 1) : keys[key]));
element("rows").addEventListener("click", (event) => {
  const row = event.target.closest(".pair");
  const button = event.target.closest("button");
  if (!row) return;
  const index = Number(row.dataset.index);
  if (button) mark(index, button.dataset.decision);
  else list.select(index, { scroll: false });
});
element("filter").addEventListener("change", () => {
  refilter(0);
  element("filter").blur(); // so that keys mean pairs again
});
element("export").addEventListener("click", exportDecisions);
sets.forEach((one, number) => {
  const tab = create("button", "", one.name === "within" ? "within the data" : one.name);
  tab.type = "button";
  tab.append(create("span", "count", one.pairs.length.toLocaleString("en")));
  tab.addEventListener("click", () => chooseSet(number));
  element("sets").append(tab);
});
chooseSet(0);
