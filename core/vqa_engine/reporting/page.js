"use strict";
// The rows of a report. Texts of a run only ever reach `textContent` and attributes set by name.

const SHOWS = ["all", "wrong", "failed", "degraded", "differ"];
const TALLEST = 8e6; // pixels: browsers end somewhat above 16 million
const SPARE = 6; // rows drawn above and below those in sight
const LONGEST = 2 ** 31, MOST_ROWS = 2 ** 22; // tenths of a millisecond, and places, in one exact number
const POLL = 2000; // milliseconds between two looks at a run that is going on
const $ = (id) => document.getElementById(id);

let data = null; // what `unpacked` gives
let state = {}; // what the address says
let found = new Uint32Array(0); // places of the rows that pass the filters, in order
let version = document.body.dataset.version || "";

// ---- the packed columns (vqa_engine/reporting/coded.py has the other half)

async function bytes() {
  if (document.body.dataset.live) {
    return new Uint8Array(await (await fetch("data")).arrayBuffer());
  }
  const text = $("data").textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const block = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) block[at] = binary.charCodeAt(at);
  return block;
}

async function unpacked(block) {
  const stream = new Blob([block]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  let at = 4 + size;
  const columns = {};
  for (const [name, { values, width, count }] of Object.entries(header.columns)) {
    const kind = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width];
    const codes = kind ? new kind(buffer, at, count) : Uint32Array.from({ length: count }, (_, n) => n + 1);
    at += Math.ceil((width * count) / 4) * 4;
    columns[name] = { values, codes, at: (place) => values[codes[place]] };
  }
  return { ...header, columns, count: columns.id.codes.length, ends: ends(columns["truths.lengths"]) };
}

function ends(lengths) {
  const sums = new Uint32Array(lengths.codes.length + 1);
  for (let place = 0; place < lengths.codes.length; place++) sums[place + 1] = sums[place] + lengths.at(place);
  return sums;
}

const of = (contender, name) => data.columns[`${contender}.${name}`];
const score = (contender) => of(contender, `score.${data.metrics[state.metric]}`);
const everyone = () => data.contenders.map((_, number) => number);

// ---- filters: each is a test of a place, made from a mask over a column's values

function mask(column, test) {
  const passes = Uint8Array.from(column.values, (value) => (test(value) ? 1 : 0));
  return (place) => passes[column.codes[place]] === 1;
}

const any = (tests) => (place) => tests.some((test) => test(place));
const isWrong = (who) => mask(score(who), (value) => value !== null && value < data.right);
const isRight = (who) => mask(score(who), (value) => value !== null && value >= data.right);
const isFailed = (who) => mask(of(who, "cause"), (value) => value !== null);
const isDegraded = (who) => mask(of(who, "degraded"), (value) => value === true);

function differs() {
  const forms = new Map([[null, 0]]);
  const form = (text) => {
    const folded = text === null ? null : text.trim().toLowerCase().replace(/\.+$/, "");
    if (!forms.has(folded)) forms.set(folded, forms.size);
    return forms.get(folded);
  };
  const columns = everyone().map((who) => of(who, "answer"));
  const folded = columns.map((column) => Uint32Array.from(column.values, form));
  return (place) => {
    let first = 0;
    for (let who = 0; who < columns.length; who++) {
      const said = folded[who][columns[who].codes[place]];
      if (said && first && said !== first) return true;
      first = first || said;
    }
    return false;
  };
}

function lower(column) {
  column.lower = column.lower || column.values.map((value) => (value === null ? "" : String(value).toLowerCase()));
  return column.lower;
}

function holds(column, wanted) {
  const passes = Uint8Array.from(lower(column), (text) => (text.includes(wanted) ? 1 : 0));
  return passes.includes(1) ? (place) => passes[column.codes[place]] === 1 : null;
}

function holdsTruth(wanted) {
  const test = holds(data.columns["truths.items"], wanted);
  return test && ((place) => {
    for (let at = data.ends[place]; at < data.ends[place + 1]; at++) if (test(at)) return true;
    return false;
  });
}

function searched(text) {
  const wanted = text.toLowerCase();
  const columns = [data.columns.id, data.columns.text];
  for (const who of everyone()) columns.push(of(who, "answer"), of(who, "message"));
  return any([...columns.map((column) => holds(column, wanted)), holdsTruth(wanted)].filter(Boolean));
}

function shown(name, whom) {
  if (name === "wrong") return any(whom.map(isWrong));
  if (name === "failed") return any(whom.map(isFailed));
  if (name === "degraded") return any(whom.map(isDegraded));
  return name === "differ" ? differs() : () => true;
}

function tests() {
  const whom = state.by === null ? everyone() : [state.by];
  const all = [];
  if (state.show !== "all") all.push(shown(state.show, whom));
  for (const who of state.right) all.push(isRight(who));
  for (const who of state.wrong) all.push(isWrong(who));
  if (state.type !== null) all.push(mask(data.columns.type, (value) => value === state.type));
  if (state.kind !== null) all.push(mask(data.columns.answer_type, (value) => value === state.kind));
  if (state.cause !== null) all.push(any(whom.map((who) => mask(of(who, "cause"), (value) => value === state.cause))));
  if (state.slow !== null) all.push(any(whom.map((who) => mask(of(who, "seconds"), (value) => value > state.slow * 1000))));
  if (state.rows) all.push((place) => place >= state.rows[0] && place <= state.rows[1]);
  if (state.q) all.push(searched(state.q));
  return all;
}

function filtered() {
  const all = tests();
  const places = new Uint32Array(data.count);
  let count = 0;
  rows: for (let place = 0; place < data.count; place++) {
    for (const test of all) if (!test(place)) continue rows;
    places[count++] = place;
  }
  const kept = places.slice(0, count);
  return state.sort === "slow" ? slowestFirst(kept) : kept;
}

// A number for each row, its time above its place: such an array sorts without a comparison in script.
function slowestFirst(places) {
  const columns = whose().map((who) => of(who, "seconds"));
  const keys = Float64Array.from(places, (place) => {
    let most = 0;
    for (const { values, codes } of columns) most = Math.max(most, values[codes[place]] || 0);
    return (LONGEST - Math.min(Math.round(most * 10), LONGEST)) * MOST_ROWS + place;
  });
  return Uint32Array.from(keys.sort(), (key) => key % MOST_ROWS);
}

const whose = () => (state.by === null ? everyone() : [state.by]);
const took = (place) => Math.max(...whose().map((who) => of(who, "seconds").at(place) || 0));

// ---- the address: what is shown is what a link to it shows

function read(text = location.hash.slice(1)) {
  const given = new URLSearchParams(text);
  const number = (name) => (/^\d+(\.\d+)?$/.test(given.get(name) || "") ? Number(given.get(name)) : null);
  const people = (name) => (given.get(name) || "").split(",").filter((one) => /^\d+$/.test(one)).map(Number)
    .filter((who) => who < data.contenders.length);
  const rows = /^(\d+)-(\d+)$/.exec(given.get("rows") || "");
  return {
    show: SHOWS.includes(given.get("show")) ? given.get("show") : "all",
    by: number("by") !== null && number("by") < data.contenders.length ? number("by") : null,
    right: people("right"), wrong: people("wrong"),
    type: given.get("type"), kind: given.get("kind"), cause: given.get("cause"),
    slow: number("slow"), q: given.get("q") || "", rows: rows && [Number(rows[1]), Number(rows[2])],
    metric: Math.min(number("metric") || 0, data.metrics.length - 1),
    sort: given.get("sort") === "slow" ? "slow" : "", row: number("row"),
  };
}

function address(changes) {
  const wanted = { ...state, ...changes };
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    const text = name === "rows" && value ? value.join("-") : Array.isArray(value) ? value.join(",") : value;
    const standard = text === null || text === "" || (name === "show" && text === "all") || (name === "metric" && text === 0);
    if (!standard) given.set(name, text);
  }
  return `#${given}`;
}

function go(changes, replacing = false) {
  history[replacing ? "replaceState" : "pushState"](null, "", address(changes));
  apply();
}

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
  link.append(free("span", "id", data.columns.id.at(place)), free("span", "question", data.columns.text.at(place)));
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
  const counts = new Uint32Array(column.values.length);
  for (const code of column.codes) counts[code]++;
  return column.values.map((value, code) => [value, counts[code]]).filter(([value, many]) => value !== null && many)
    .sort((one, other) => (one[0] < other[0] ? -1 : 1));
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
  if (state.rows) made.push(chip(`rows ${count(state.rows[0] + 1)} to ${count(state.rows[1] + 1)}`, { rows: null }));
  $("chips").replaceChildren(...made);
}

// ---- one row opened

function facts(pairs) {
  const list = element("dl", "facts");
  for (const [name, value] of pairs) if (value) list.append(element("dt", "", name), free("dd", "", value));
  return list;
}

function tokens(place, who) {
  const figure = (name) => of(who, `${name}_tokens`).at(place);
  if (figure("prompt") === null) return "";
  const image = figure("image") === null ? "" : `, ${noun(figure("image"), "of them image", "of them image")}`;
  const reused = figure("reused") ? `, ${count(figure("reused"))} reused` : "";
  return `${count(figure("prompt"))} prompt${image}${reused}; ${count(figure("completion"))} generated`;
}

function times(place, who) {
  const parts = ["prepare", "prefill", "decode"].map((name) => [name, of(who, name).at(place)]).filter(([, ms]) => ms !== null);
  const whole = time(of(who, "seconds").at(place));
  return parts.length ? `${whole} (${parts.map(([name, ms]) => `${name} ${time(ms)}`).join(", ")})` : whole;
}

function memory(place, who) {
  const parts = [["peak", "peak"], ["active", "after it"], ["footprint", "process"], ["expected", "predicted need"], ["bound", "with margin"]];
  return parts.map(([name, title]) => [title, of(who, name).at(place)]).filter(([, bytes]) => bytes !== null)
    .map(([title, bytes]) => `${title} ${size(bytes)}`).join(", ");
}

function attempts(place, who) {
  const tried = JSON.parse(of(who, "attempts").at(place) || "[]");
  if (!tried.length) return [];
  const made = element("details");
  made.append(element("summary", "", `${noun(tried.length, "attempt")} before this`));
  for (const one of tried) made.append(facts([["cause", one.cause.replaceAll("_", " ")], ["message", one.message], ["plan", one.plan]]));
  return [made];
}

function badges(place, who) {
  const made = [];
  const value = score(who).at(place);
  if (value !== null) made.push(element("span", value >= data.right ? "badge good" : "badge poor", `${value >= data.right ? "✓" : "✕"} ${percent(value)}`));
  if (of(who, "degraded").at(place)) made.push(element("span", "badge odd", "degraded"));
  if (of(who, "cause").at(place) !== null) made.push(element("span", "badge odd", "no answer"));
  return made;
}

function spoken(place, who) {
  const made = element("section", "spoken");
  const head = element("h3", `who ${colour(who)}`);
  head.append(element("span", "swatch"), free("span", "", data.contenders[who]));
  const { kind, text } = said(place, who);
  const answer = free("p", `text ${kind}`, kind === "lost" ? of(who, "message").at(place) : text || "(empty)");
  made.append(head, answer);
  answer.append(...badges(place, who));
  const scores = data.metrics.map((name) => [name, of(who, `score.${name}`).at(place)]).filter(([, value]) => value !== null);
  made.append(facts([
    ["cause", (of(who, "cause").at(place) || "").replaceAll("_", " ")],
    ...scores.map(([name, value]) => [name, percent(value)]),
    ["tokens", tokens(place, who)], ["time", times(place, who)], ["memory", memory(place, who)],
    ["finished by", of(who, "finish").at(place)], ["plan", of(who, "plan").at(place)],
  ]), ...attempts(place, who));
  const detail = of(who, "detail").at(place);
  if (detail) {
    const more = element("details");
    more.append(element("summary", "", "what it printed"), free("pre", "", detail));
    made.append(more);
  }
  return made;
}

function picture(place) {
  const frame = element("div", "picture");
  const missing = (text) => frame.replaceChildren(element("p", "", text));
  const source = data.columns.picture.at(place);
  if (source === null) {
    missing(data.no_picture);
    return frame;
  }
  const image = element("img");
  const note = element("p", "note", "");
  image.alt = `The picture of the question: ${data.columns.text.at(place)}`;
  image.addEventListener("error", () => missing(`The picture could not be loaded. ${data.no_picture}`));
  image.addEventListener("load", () => { if (!source.startsWith("data:")) note.textContent = `${image.naturalWidth} × ${image.naturalHeight} pixels here`; });
  image.src = source;
  frame.append(image);
  const both = element("div");
  both.append(frame, note);
  return both;
}

function truths(place) {
  const list = element("ul", "truths");
  for (let at = data.ends[place]; at < data.ends[place + 1]; at++) {
    const item = free("li", "", data.columns["truths.items"].at(at) || "(empty)");
    const times = data.columns["truths.weights"].at(at);
    if (times > 1) item.append(element("b", "", `× ${times}`));
    list.append(item);
  }
  return list.children.length ? list : element("p", "note", "No ground truth.");
}

let opened = null; // the place of the row in the dialog
function show(place) {
  const left = element("div"), right = element("div");
  const kinds = [data.columns.type.at(place), data.columns.answer_type.at(place)].filter(Boolean);
  const choices = JSON.parse(data.columns.choices.at(place) || "[]");
  left.append(picture(place), free("h2", "asked", data.columns.text.at(place)), truths(place),
    facts([["choices", choices.join(" · ")], ["types", kinds.join(" · ")], ["question id", String(data.columns.id.at(place))]]));
  for (const who of everyone()) right.append(spoken(place, who));
  $("opened").replaceChildren(left, right);
  const at = found.indexOf(place);
  $("place").textContent = at < 0 ? "not among the rows shown" : `row ${count(at + 1)} of ${count(found.length)}`;
  if (!$("detail").open) $("detail").showModal();
  if (opened !== place) $("detail").scrollTop = 0;
  opened = place;
  if (at >= 0) reveal(at);
}

function step(by) {
  const at = found.indexOf(state.row) + by;
  if (at >= 0 && at < found.length) go({ row: found[at] }, true);
}

// ---- all together

let filter = ""; // the part of the address that the rows in `found` are for
function apply() {
  state = read();
  const wanted = `${address({ row: null })}/${version}`;
  if (wanted !== filter) {
    const again = filter.split("/").slice(0, -1).join("/") === address({ row: null });
    filter = wanted;
    const began = performance.now();
    found = filtered();
    document.documentElement.dataset.filtered = (performance.now() - began).toFixed(1);
    fill();
    buttons();
    chips();
    $("found").textContent = `${noun(found.length, "row")}${found.length === data.count ? "" : ` of ${count(data.count)}`}`;
    $("empty").hidden = found.length > 0;
    measure();
    if (!again) $("window").scrollTop = 0;
    draw(true);
    document.documentElement.dataset.view = location.hash.slice(1);
  }
  if (state.row !== null && state.row < data.count) show(state.row);
  else if ($("detail").open) $("detail").close();
}

const typing = (event) => /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "button";

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
  const moves = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
  if ($("detail").open) {
    if (moves[event.key]) { event.preventDefault(); step(moves[event.key]); }
  } else if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "j" && found.length) go({ row: found[0] });
}

function listen() {
  addEventListener("popstate", apply);
  addEventListener("click", (event) => { // links of the summary: a part of the page, or some rows
    const wanted = event.target.closest("#summary a[href]")?.getAttribute("href").slice(1);
    if (!wanted || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (wanted.includes("=")) go(read(wanted));
    (wanted.includes("=") ? $("rows") : $(wanted)).scrollIntoView();
  });
  addEventListener("keydown", onKey);
  addEventListener("resize", () => { measure(); draw(true); });
  $("window").addEventListener("scroll", () => draw(), { passive: true });
  $("list").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ row: Number(link.dataset.place) });
  });
  $("search").addEventListener("input", (event) => go({ q: event.target.value }, true));
  $("slow").addEventListener("input", (event) => go({ slow: event.target.value === "" ? null : Number(event.target.value) }, true));
  $("by").addEventListener("change", (event) => go({ by: event.target.value === "" ? null : Number(event.target.value) }));
  $("metric").addEventListener("change", (event) => go({ metric: Number(event.target.value) }));
  $("sort").addEventListener("change", (event) => go({ sort: event.target.value }));
  $("type").addEventListener("change", (event) => {
    const [name, ...rest] = event.target.value.split("=");
    go({ type: null, kind: null, ...(name ? { [name]: rest.join("=") } : {}) });
  });
  for (const button of $("shows").children) button.addEventListener("click", () => go({ show: button.value }));
  $("earlier").addEventListener("click", () => step(-1));
  $("later").addEventListener("click", () => step(1));
  $("shut").addEventListener("click", () => go({ row: null }));
  $("detail").addEventListener("cancel", (event) => { event.preventDefault(); go({ row: null }); });
  $("detail").addEventListener("click", (event) => { if (event.target === $("detail")) go({ row: null }); });
}

async function watch() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL));
    try {
      const now = (await (await fetch("version")).text()).trim();
      if (now === version) continue;
      const page = new DOMParser().parseFromString(await (await fetch(".")).text(), "text/html");
      data = await unpacked(await bytes());
      $("summary").replaceWith(page.getElementById("summary")); // the viewer's own markup, under its policy
      version = now;
      totals = "";
      apply();
      $("gone").hidden = true;
    } catch (error) {
      $("gone").hidden = false;
    }
  }
}

function columns() {
  const names = element("span", "answers");
  names.append(...data.contenders.map((label) => free("span", "said", label)));
  $("columns").replaceChildren(element("span", "", "id"), element("span", "", "question"), names, element("span", "took", "time"));
  document.documentElement.style.setProperty("--answers", `${Math.max(1, data.contenders.length * 0.8)}fr`);
}

async function start() {
  data = await unpacked(await bytes());
  state = read();
  columns();
  listen();
  $("rows").hidden = false;
  apply();
  (self.requestIdleCallback || setTimeout)(() => lower(data.columns.text)); // the first search finds it done
  document.documentElement.dataset.ready = performance.now().toFixed(0);
  if (document.body.dataset.live) watch();
}

start();
