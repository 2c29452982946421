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
  }
  if (state.row !== null && state.row < data.count) show(state.row);
  else if ($("detail").open) $("detail").close();
  document.documentElement.dataset.view = location.hash.slice(1);
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
  (self.requestIdleCallback || setTimeout)(() => written().forEach(joined)); // the first search finds it done
  document.documentElement.dataset.ready = performance.now().toFixed(0);
  if (document.body.dataset.live) watch();
}

start();
