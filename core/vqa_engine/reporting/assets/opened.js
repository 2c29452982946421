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

function seen(place, who) {
  const sides = of(who, "image_size").at(place);
  return sides ? `${count(sides[0])} × ${count(sides[1])} pixels as the model got it` : "";
}

function sure(place, who) { // of the option that was chosen by likelihood
  const value = of(who, "probability").at(place);
  return value === null ? "" : `${percent(value)} among the choices`;
}

function likely(place, who) {
  const value = of(who, "logprob").at(place);
  return value === null ? "" : String(value);
}

function folded(title, text, open) { // a long text behind its title
  const made = element("details");
  made.append(element("summary", "", title), free("pre", "", text));
  made.open = open;
  return made;
}

function prompt(place, who) {
  const parts = of(who, "prompt").at(place);
  if (parts === null) return [];
  if (!parts.length) return [element("p", "note", "The prompt is left out of a page with so many different ones; `vqa-engine show --json` has it.")];
  const text = parts.join(data.columns.text.at(place));
  return [folded("prompt", text, text.length <= SHORT)];
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
  head.append(element("span", "swatch"), free("span", "name", data.contenders[who]), ...badges(place, who));
  const { kind, text } = said(place, who);
  const answer = free("p", `text ${kind}`, kind === "lost" ? of(who, "message").at(place) : text || "(empty)");
  made.append(head, answer);
  const scores = data.metrics.map((name) => [name, of(who, `score.${name}`).at(place)]).filter(([, value]) => value !== null);
  made.append(facts([
    ["cause", (of(who, "cause").at(place) || "").replaceAll("_", " ")],
    ...scores.map(([name, value]) => [name, percent(value)]),
    ["probability", sure(place, who)], ["log-probability", likely(place, who)],
    ["picture", seen(place, who)], ["tokens", tokens(place, who)], ["time", times(place, who)], ["memory", memory(place, who)],
    ["finished by", of(who, "finish").at(place)], ["plan", of(who, "plan").at(place)], ["place", of(who, "place").at(place)],
  ]), ...prompt(place, who), ...attempts(place, who));
  const detail = of(who, "detail").at(place);
  if (detail) made.append(folded("what it printed", detail, false));
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
    const item = element("li");
    item.append(free("bdi", "", data.columns["truths.items"].at(at) || "(empty)"));
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
  const text = data.columns.text.at(place), images = data.columns.images.at(place);
  left.append(picture(place), free("h2", text.length > 140 ? "asked long" : "asked", text || "(empty)"), truths(place),
    facts([["images", images === null ? "" : `${images + 1}, of which the first is shown`], ["choices", choices.map((choice, at) => `${String.fromCharCode(65 + at)}. ${choice}`).join(" · ")], ["types", kinds.join(" · ")], ["question id", String(data.columns.id.at(place))]]));
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

