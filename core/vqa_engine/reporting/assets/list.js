// ---- elements

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function free(name, kind, text) { // a text of the run, in whatever direction it is written
  const made = element(name, kind, text);
  made.dir = "auto";
  return made;
}

const count = (number) => number.toLocaleString("en");
const noun = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;
const percent = (value) => `${Math.round(value * 1000) / 10} %`;
const time = (ms) => (ms === null ? "" : ms < 1000 ? `${Math.round(ms * 10) / 10} ms`.replace(/(\d{3,})\.\d/, "$1") : `${Math.round(ms / 100) / 10} s`);
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < 3; unit++) bytes /= 1024;
  return `${Math.round(bytes * 10) / 10} ${units[unit]}`;
}
const colour = (who) => `c${who % 6}`;

// ---- the list

function said(place, who) {
  const value = score(who).at(place);
  const cause = of(who, "cause").at(place);
  const answer = of(who, "answer").at(place);
  if (cause !== null) return { kind: "lost", mark: "!", text: cause.replaceAll("_", " ") };
  if (answer === null) return { kind: "none", mark: "", text: "not asked" };
  if (value === null) return { kind: "unscored", mark: "·", text: answer };
  return value >= data.right ? { kind: "right", mark: "✓", text: answer } : { kind: "wrong", mark: "✕", text: answer };
}

const MEANING = { right: "right", wrong: "wrong", lost: "no answer", none: "", unscored: "no ground truth" };

function row(place, top) {
  const item = element("li");
  const link = element("a", "row");
  link.href = address({ row: place });
  link.dataset.place = place;
  link.style.top = `${top}px`;
  link.append(free("span", "id", data.columns.id.at(place)), free("span", "question", data.columns.text.at(place) || "(empty)"));
  const answers = element("span", "answers");
  for (const who of everyone()) {
    const { kind, mark, text } = said(place, who);
    const cell = element("span", `said ${kind}`);
    const sign = element("span", `mark ${kind}`, mark);
    sign.title = MEANING[kind];
    cell.append(sign, free("bdi", "", text === "" ? "(empty)" : text));
    answers.append(cell);
  }
  link.append(answers, element("span", "took", time(took(place))));
  item.append(link);
  return item;
}

const heights = { height: 42, total: 0, scale: 1 };

function measure() {
  heights.height = matchMedia("(max-width: 760px)").matches ? 68 : 42;
  heights.total = Math.min(found.length * heights.height, TALLEST);
  const seen = $("window").clientHeight;
  const whole = found.length * heights.height;
  heights.scale = whole > heights.total ? (whole - seen) / (heights.total - seen) : 1;
  $("list").style.height = `${heights.total}px`;
}

let drawn = "";
function draw(force = false) {
  const scrolled = $("window").scrollTop;
  const virtual = scrolled * heights.scale;
  const first = Math.max(0, Math.floor(virtual / heights.height) - SPARE);
  const last = Math.min(found.length, Math.ceil((virtual + $("window").clientHeight) / heights.height) + SPARE);
  const wanted = `${first}-${last}-${scrolled * (heights.scale - 1)}`;
  if (!force && wanted === drawn) return;
  drawn = wanted;
  const focused = document.activeElement?.dataset?.place;
  const items = [];
  for (let at = first; at < last; at++) items.push(row(found[at], at * heights.height - virtual + scrolled));
  $("list").replaceChildren(...items);
  if (focused !== undefined) $("list").querySelector(`[data-place="${Number(focused)}"]`)?.focus({ preventScroll: true });
}

function reveal(at) {
  const top = at * heights.height, seen = $("window").clientHeight, virtual = $("window").scrollTop * heights.scale;
  if (top < virtual || top + heights.height > virtual + seen) $("window").scrollTop = Math.max(0, (top - seen / 3) / heights.scale);
  draw();
}

// ---- the tools above the list

function option(value, text, chosen) {
  const made = element("option", "", text);
  made.value = value;
  made.selected = chosen;
  return made;
}

function counted(column) {
  if (column.counted) return column.counted;
  const counts = new Uint32Array(column.values.length);
  for (const code of column.codes) counts[code]++;
  column.counted = column.values.map((value, code) => [value, counts[code]]).filter(([value, many]) => value !== null && many)
    .sort((one, other) => (one[0] < other[0] ? -1 : 1));
  return column.counted;
}

function fill() {
  const models = data.contenders.map((label, who) => option(who, label, state.by === who));
  $("by").replaceChildren(option("", "any model", state.by === null), ...models);
  $("by").parentElement.hidden = data.contenders.length < 2;
  const groups = [["type", "question type"], ["kind", "answer type"]].map(([name, title]) => {
    const group = element("optgroup");
    group.label = title;
    const column = data.columns[name === "type" ? "type" : "answer_type"];
    group.append(...counted(column).map(([value, many]) =>
      option(`${name}=${value}`, `${value} (${count(many)})`, state[name] === value)));
    return group;
  });
  $("type").replaceChildren(option("", "every type", state.type === null && state.kind === null),
    ...groups.filter((group) => group.children.length));
  $("type").parentElement.hidden = $("type").children.length < 2;
  $("metric").replaceChildren(...data.metrics.map((name, number) => option(number, name, state.metric === number)));
  $("metric").parentElement.hidden = data.metrics.length < 2;
  $("sort").value = state.sort;
  if (document.activeElement !== $("slow")) $("slow").value = state.slow === null ? "" : state.slow;
  if (document.activeElement !== $("search")) $("search").value = state.q;
}

let totals = ""; // for which settings the buttons' counts are
function buttons() {
  const wanted = `${state.by}/${state.metric}/${version}`;
  for (const button of $("shows").children) {
    button.setAttribute("aria-pressed", String(button.value === state.show));
    if (totals === wanted) continue;
    const test = shown(button.value, whose());
    let many = 0;
    for (let place = 0; place < data.count; place++) if (test(place)) many++;
    button.lastElementChild.textContent = count(many);
    button.hidden = button.value === "differ" && data.contenders.length < 2;
  }
  totals = wanted;
}

function chip(text, changes) {
  const made = element("button", "chip", `${text} ✕`);
  made.type = "button";
  made.setAttribute("aria-label", `Remove the filter: ${text}`);
  made.addEventListener("click", () => go(changes));
  return made;
}

function chips() {
  const made = [];
  for (const who of state.right) made.push(chip(`${data.contenders[who]} right`, { right: state.right.filter((one) => one !== who) }));
  for (const who of state.wrong) made.push(chip(`${data.contenders[who]} wrong`, { wrong: state.wrong.filter((one) => one !== who) }));
  if (state.cause !== null) made.push(chip(`cause: ${state.cause.replaceAll("_", " ")}`, { cause: null }));
  if (state.place !== null) made.push(chip(`place: ${state.place}`, { place: null }));
  if (state.rows) made.push(chip(`rows ${count(state.rows[0] + 1)} to ${count(state.rows[1] + 1)}`, { rows: null }));
  $("chips").replaceChildren(...made);
}

