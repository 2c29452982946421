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

// All values of a column in one string: it is searched several times as fast as they are one by one.
function joined(column) {
  if (!column.joined) {
    const texts = column.values.map((value) => (value === null ? "" : String(value).toLowerCase()));
    column.starts = new Uint32Array(texts.length + 1);
    texts.forEach((text, code) => { column.starts[code + 1] = column.starts[code] + text.length + 1; });
    column.joined = texts.join("\0");
  }
  return column.joined;
}

function holds(column, wanted) {
  const text = joined(column);
  const passes = new Uint8Array(column.values.length);
  let at = text.indexOf(wanted);
  if (at < 0) return null;
  for (let code = 0; at >= 0; at = text.indexOf(wanted, column.starts[code + 1])) {
    while (column.starts[code + 1] <= at) code++;
    passes[code] = 1;
  }
  return (place) => passes[column.codes[place]] === 1;
}

function holdsTruth(wanted) {
  const test = holds(data.columns["truths.items"], wanted);
  return test && ((place) => {
    for (let at = data.ends[place]; at < data.ends[place + 1]; at++) if (test(at)) return true;
    return false;
  });
}

const written = () => [data.columns.id, data.columns.text,
  ...everyone().flatMap((who) => [of(who, "answer"), of(who, "message")])];

function searched(text) {
  const wanted = text.toLowerCase();
  return any([...written().map((column) => holds(column, wanted)), holdsTruth(wanted)].filter(Boolean));
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
  if (state.place !== null) all.push(any(whom.map((who) => mask(of(who, "place"), (value) => value === state.place))));
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
    type: given.get("type"), kind: given.get("kind"), cause: given.get("cause"), place: given.get("place"),
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

