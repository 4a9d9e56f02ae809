/** One pair after the other; the answers in the end. */
const facts = read("facts");
const pictures = new Pictures();
const answers = new Answers(facts);
const questions = ["realistic", "matches"];
let current = 0;
let since = 0;

/** Count the time that a pair was looked at; it ends with the second answer, or when the page is not seen. */
function stopWatch() {
  const id = facts.pairs[current]?.[0];
  if (since && id && !answers.isDone(id)) answers.look(id, (performance.now() - since) / 1000);
  since = 0;
}

function show(index) {
  stopWatch();
  current = Math.max(0, Math.min(index, facts.pairs.length));
  const isOver = current === facts.pairs.length;
  element("begin").hidden = true;
  element("pair").hidden = isOver;
  element("end").hidden = !isOver;
  if (isOver) {
    element("end").querySelector("h2").textContent = answers.done === facts.pairs.length ? "All pairs are answered. Thank you." : `${answers.done} of ${many(facts.pairs.length, "pair")} are answered.`;
  } else {
    element("caption").textContent = facts.pairs[current][1];
    element("left").src = pictures.source(2 * current);
    element("right").src = pictures.source(2 * current + 1);
    since = performance.now();
    document.activeElement?.blur();
    element("study").scrollTop = 0;
  }
  paint();
}

function paint() {
  element("progress").max = facts.pairs.length;
  element("progress").value = answers.done;
  element("said").textContent = `${answers.done} of ${facts.pairs.length} answered`;
  if (current === facts.pairs.length) return;
  const given = answers.of(facts.pairs[current][0]);
  for (const input of document.querySelectorAll(".choices input")) input.checked = given[input.name] === input.value;
  element("next").disabled = !answers.isDone(facts.pairs[current][0]);
  element("back").disabled = current === 0;
}

function answer(question, side) {
  const id = facts.pairs[current][0];
  const isSecond = questions.some((one) => one !== question && answers.of(id)[one]) && !answers.isDone(id);
  if (isSecond) stopWatch();
  answers.answer(id, question, side);
  paint();
}

function next() {
  if (answers.isDone(facts.pairs[current][0])) show(current + 1);
}

function begin() {
  const open = facts.pairs.findIndex(([id]) => !answers.isDone(id));
  show(open < 0 ? facts.pairs.length : open);
}

const keys = {
  1: () => answer("realistic", "left"),
  2: () => answer("realistic", "right"),
  3: () => answer("matches", "left"),
  4: () => answer("matches", "neither"),
  5: () => answer("matches", "right"),
  Enter: next,
  b: () => show(current - 1),
};
onKeys((key) => (key === "?" ? showKeys : element("pair").hidden ? undefined : keys[key]));

element("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const worker = element("worker").value.trim();
  if (!worker) return;
  answers.begin(worker);
  begin();
});
for (const question of questions) {
  element(question).addEventListener("change", (event) => answer(question, event.target.value));
}
element("next").addEventListener("click", next);
element("back").addEventListener("click", () => show(current - 1));
element("again").addEventListener("click", () => show(0));
element("save").addEventListener("click", () => {
  const worker = answers.worker.replace(/[^A-Za-z0-9_-]/g, "_");
  save(`answers-${String(facts.page).padStart(3, "0")}-${worker}.json`, answers.toFile());
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stopWatch();
  else if (!element("pair").hidden) since = performance.now();
});
addEventListener("pagehide", stopWatch);
element("worker").value = answers.worker;
if (answers.worker) begin();
