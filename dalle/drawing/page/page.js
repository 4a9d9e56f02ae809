/** The page: the parts put together, keys and buttons. */
const facts = read("facts");
const samples = new Samples(facts);
const tiles = new Tiles(element("rows"), facts, samples, new Pictures());
const curve = new Curve(element("curve"), element("axis"), facts.stops, facts.means);
const texts = facts.captions.map((text, caption) => plain(`${facts.names[caption]} ${text}`));
const most = facts.stops.at(-1);
let found = facts.captions.map((_, caption) => caption);
let current = 0; // place of a sample among those in the list

tiles.fit();
const list = new LongList(element("samples"), element("rows"), {
  make: (item) => tiles.make(item),
  paint: (row) => {
    for (const tile of row.querySelectorAll(".tile")) {
      const here = Number(tile.dataset.place) === current;
      tile.classList.toggle("here", here);
      if (here) tile.setAttribute("aria-current", "true");
      else tile.removeAttribute("aria-current");
    }
  },
  kind: (item) => item.kind,
});

function plain(text) {
  return text.normalize("NFKC").toLowerCase();
}

const first = () => facts.stops[Number(element("first").value)];
const by = () => element("sort").value;
const shown = () => Number(element("show").value);

/** Put into the list what is chosen now; the sample that was current stays so if it is still there. */
function lay() {
  const [sample, caption] = [tiles.all?.[current], tiles.ofCaption?.[current]];
  const items = tiles.lay(found, by(), first(), shown());
  current = Math.max(0, tiles.all.indexOf(sample));
  if (tiles.all[current] !== sample) current = Math.max(0, tiles.ofCaption.indexOf(caption));
  list.show(items);
  list.select(Tiles.rowOf(items, current), { focus: false });
  element("nothing").hidden = found.length > 0;
  tell();
}

function tell() {
  const n = first();
  curve.show(Number(element("first").value));
  element("first").setAttribute("aria-valuetext", n.toLocaleString("en"));
  const number = (text) => create("b", "", text.toLocaleString("en"));
  const said = most > 1 ? ["best of the first ", number(n), ` of ${many(most, "sample")}`] : ["one sample of each caption"];
  if (facts.means.length) said.push(" · mean score of the best ", number(facts.means[Number(element("first").value)].toFixed(3)));
  element("counts").replaceChildren(...said);
  const all = facts.captions.length;
  element("said").textContent = found.length < all ? `${found.length.toLocaleString("en")} of ${many(all, "caption")}` : many(all, "caption");
}

function search() {
  const words = plain(element("search").value).split(/\s+/u).filter(Boolean);
  found = [];
  texts.forEach((text, caption) => words.every((word) => text.includes(word)) && found.push(caption));
  lay();
  current = 0;
  list.select(0, { focus: false });
}

/** Make a sample the current one, by its place in the list. */
function go(place) {
  if (!tiles.all.length) return;
  current = Math.max(0, Math.min(place, tiles.all.length - 1));
  const row = Tiles.rowOf(list.items, current);
  const isFirst = list.items[row - 1]?.kind === "--head";
  if (isFirst) list.select(row - 1, { focus: false }); // so that its caption is seen as well
  list.select(row, { focus: false });
  list.shown.get(row)?.children[current - list.items[row].from]?.focus({ preventScroll: true });
}

function goRows(count) {
  const item = list.items[Tiles.rowOf(list.items, current)];
  const column = current - (item?.from ?? 0);
  let row = Tiles.rowOf(list.items, current);
  for (let left = Math.abs(count); left > 0; left--) {
    let next = row + Math.sign(count);
    while (list.items[next]?.kind === "--head") next += Math.sign(count);
    if (!list.items[next]) break;
    row = next;
  }
  const { from, end } = list.items[row];
  go(Math.min(from + column, end - 1));
}

function goCaption(step) {
  const caption = tiles.ofCaption[current];
  const place = step > 0 ? tiles.ofCaption.lastIndexOf(caption) + 1 : tiles.ofCaption.indexOf(caption) - 1;
  if (place >= 0 && place < tiles.all.length) go(tiles.ofCaption.indexOf(tiles.ofCaption[place]));
}

function showWhole(caption) {
  const dialog = element("whole");
  dialog.querySelector("h2").textContent = facts.names[caption];
  dialog.querySelector(".text").textContent = facts.captions[caption];
  dialog.showModal();
}

function step(id, by) {
  const field = element(id);
  if (field.type === "range") field.value = Number(field.value) + by;
  else field.selectedIndex = Math.max(0, Math.min(field.options.length - 1, field.selectedIndex + by));
  lay();
}

function nextSort() {
  const sort = element("sort");
  sort.selectedIndex = (sort.selectedIndex + 1) % sort.options.length;
  lay();
}

const keys = {
  ArrowLeft: () => go(current - 1),
  ArrowRight: () => go(current + 1),
  ArrowUp: () => goRows(-1),
  ArrowDown: () => goRows(1),
  PageUp: () => goRows(-list.page),
  PageDown: () => goRows(list.page),
  Home: () => go(0),
  End: () => go(tiles.all.length - 1),
  Enter: () => document.querySelector(".tile.here a")?.click(),
  n: () => goCaption(1),
  p: () => goCaption(-1),
  c: () => tiles.all.length && showWhole(tiles.ofCaption[current]),
  s: nextSort,
  "/": () => element("search").focus(),
  "[": () => step("first", -1),
  "]": () => step("first", 1),
  "-": () => step("show", -1),
  "+": () => step("show", 1),
  "=": () => step("show", 1),
  "?": showKeys,
};
onKeys((key) => keys[key]);

element("rows").addEventListener("click", (event) => {
  const caption = event.target.closest(".caption");
  const tile = event.target.closest(".tile");
  if (tile) {
    current = Number(tile.dataset.place);
    list.select(Tiles.rowOf(list.items, current), { scroll: false, focus: false });
  }
  if (caption) showWhole(Number(caption.dataset.caption));
});
element("search").addEventListener("input", search);
element("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") event.target.value = "";
  if (event.key === "Escape") search();
  if (event.key === "Escape" || event.key === "Enter") element("samples").focus();
});
element("first").addEventListener("input", lay);
for (const id of ["show", "sort"]) {
  element(id).addEventListener("change", () => {
    lay();
    element(id).blur(); // so that keys mean samples again
  });
}
new ResizeObserver(() => {
  if (tiles.fit()) lay();
}).observe(element("samples"));

/** What is shown at first: all samples of a few, the best of many, and as many as have pictures. */
function begin() {
  const kept = facts.counts.map(() => 0);
  for (const [caption] of facts.kept) kept[caption]++;
  const mostKept = Math.max(1, ...kept.slice(0, 100_000));
  const wanted = mostKept < most ? mostKept : facts.captions.length === 1 ? most : 8;
  const choices = [1, 2, 4, 8, 16, 32, 64].filter((count) => count < most);
  for (const [count, text] of [...choices.map((count) => [count, `the best ${count > 1 ? count : ""}`]), [most, "all of them"]]) {
    const option = create("option", "", text);
    option.value = count;
    element("show").append(option);
  }
  element("show").selectedIndex = [...choices, most].findIndex((count) => count >= Math.min(wanted, most));
  element("first").max = facts.stops.length - 1;
  element("first").value = facts.stops.length - 1;
  element("considered").hidden = most === 1;
  document.querySelector(".fields").hidden = most === 1;
  if (!samples.scored) element("sort").querySelector("[value=score]").remove();
  element("settings").replaceChildren(
    ...facts.settings.map(([what, name, fingerprint]) => {
      const one = create("span", "setting");
      one.append(create("span", "what", what), create("bdi", "", name));
      if (fingerprint) one.append(create("code", "", fingerprint.slice(0, 12)));
      one.title = fingerprint;
      return one;
    }),
  );
  const left = [];
  if (facts.captions.length < facts.all_captions) left.push(`the first ${facts.captions.length.toLocaleString("en")} of ${many(facts.all_captions, "caption")}; samples.parquet has all${facts.means.length ? ", and the means are of all" : ""}`);
  if (facts.cut) left.push(`${many(facts.cut, "caption")} cut short`);
  const small = read("sizes").filter(Boolean).length;
  if (small < facts.kept.length) left.push(`small pictures of ${small.toLocaleString("en")} of ${many(facts.kept.length, "picture")}, the best`);
  const drawn = `${many(facts.all_samples, "sample")} drawn, ${many(facts.kept.length, "picture")} kept`;
  element("left-out").textContent = [drawn, ...left, `small pictures of at most ${read("side")} pixels`].join(" · ");
}

begin();
lay();
