"use strict";
// The rows of a report. Texts of a run only ever reach `textContent` and attributes set by name.

const SHOWS = ["all", "wrong", "failed", "degraded", "differ"];
const TALLEST = 8e6; // pixels: browsers end somewhat above 16 million
const SPARE = 6; // rows drawn above and below those in sight
const LONGEST = 2 ** 31, MOST_ROWS = 2 ** 22; // tenths of a millisecond, and places, in one exact number
const SHORT = 400; // characters of a prompt that is shown without a click
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

