/* The overview and the heat map: columns that a reader sorts, filters, chooses and turns the pages of. The page holds
   the first lines as a plain table; all state is in the address, so that it can be sent, kept and gone back to. */
(() => {
  "use strict";

  const table = document.getElementById("board"), form = document.getElementById("filter");
  if (!table || !form) { return; }
  const exabench = window.exabench, { el, say, missing, sorting, collator } = exabench;
  const HEAT = table.dataset.kind === "heat", ROOT = table.dataset.root, PAGE = 100, NOTHING = "\u2013";
  const LIMITS = [0.005, 0.02, 0.05, 0.1]; // differences from which a cell of the heat map takes its next colour
  const ZERO = ["yes", "unknown", "no"];
  const ABOUT = { // the filters, and how they are called in words, on paper
    q: "search", kind: "type", stage: "first stage", depth: "depth", state: "state", whole: "all tasks finished", zero: "zero-shot",
    licence: "licence", owner: "owner", from: "parameters from", to: "parameters to", base: "compared with"
  };
  const FIELDS = Object.keys(ABOUT), byId = (id) => document.getElementById(id), status = byId("status"), pager = byId("pager");
  let data, lines, count, columns, stages, scores = null, state = null, pinned = "", typing = 0, drawnHeads = "", derived = null;

  const blank = () => ({
    ...Object.fromEntries(FIELDS.map((name) => [name, ""])), tasks: null, cols: null, sort: [], rows: [], page: 1, all: false
  });
  const MOST = 50; // rows that can be compared at once, as on the page of significance
  const places = () => Array.from({ length: count }, (_, i) => i);
  const distinct = (values) => [...new Set(values)].filter(Boolean).sort(collator.compare);
  const isFirst = (i) => lines.slug[i] === data.firstStage;
  const isStage = (i) => stages.get(lines.list[i]) === i;
  const isToBeat = (i) => isStage(i) && (!data.list || data.list === lines.list[i]); // stays in a view by size
  const id = (i) => `${lines.slug[i]}@${lines.list[i]}`;
  const keyOf = (i) => `${lines.slug[i]}.${lines.list[i]}`; // as the pages that compare call a row
  const lineOf = (wanted) => wanted ? places().findIndex((i) => id(i) === wanted) : -1;

  /* -- what follows from the chosen tasks and the chosen baseline ------------------------------------------- */

  const chosen = () => state.tasks && scores ? state.tasks : null;
  const taskPlaces = () => chosen() || data.tasks.map((_, place) => place);

  function derive() {
    const key = JSON.stringify([chosen(), HEAT && state.base]);
    if (derived?.key === key) { return; }
    const tasks = chosen(), base = HEAT ? lineOf(state.base) : -1;
    const done = tasks ? places().map((i) => tasks.filter((task) => scores[task][i] !== null).length) : lines.finished;
    const whole = tasks ? tasks.length : data.tasks.length;
    const mean = tasks ? places().map((i) => done[i] === whole
      ? tasks.reduce((sum, task) => sum + scores[task][i], 0) / whole : null) : lines.mean;
    const before = (i) => base >= 0 ? base : stages.get(lines.list[i]); // the line that this one is held against
    const gain = !tasks && base < 0 ? lines.gain : mean.map((own, i) => {
      const from = before(i);
      return missing(own) || missing(mean[from]) || (from === i && base < 0) ? null : own - mean[from];
    });
    derived = { key, mean, done, whole, before, gain, keys: new Map() };
  }

  function difference(task, i) {
    const own = scores[task][i], old = scores[task][derived.before(i)];
    return missing(own) || missing(old) ? null : own - old;
  }

  /* The place in ZERO that a line has over the chosen tasks. */
  function zero(i) {
    const told = taskPlaces().map((task) => lines.exposure[i][task]);
    return told.includes("y") ? 2 : told.includes("u") ? 1 : 0;
  }

  /* -- the columns: what they sort by, and what their cells hold -------------------------------------------- */

  const SORTS = {
    group: (i) => chosen() ? null : lines.group[i],
    mean: (i) => derived[HEAT ? "gain" : "mean"][i],
    gain: (i) => isStage(i) ? null : derived.gain[i],
    zero
  };
  const badge = (name) => el("span", { class: `badge ${{ reproduced: "b-own", "re-computed": "b-sent" }[name] || "b-other"}` }, name);
  const words = (key) => (i) => el("td", {}, el("bdi", { class: "cut", title: lines[key][i] }, lines[key][i] || NOTHING));
  /* The queries that would separate a row from the next of its group: a rough number, so two digits. */
  function queries(i) {
    const value = chosen() ? null : lines.more[i];
    if (missing(value)) { return NOTHING; }
    return value > 10_000 ? "more than 10,000" : say.count(Number(Math.ceil(value).toPrecision(2)) || 1);
  }
  const plain = (key) => (i) => el("td", {}, lines[key][i]);
  const number = (text) => el("td", { class: "n" }, text);
  const CELLS = {
    group: (i) => {
      const text = chosen() || missing(lines.group[i]) ? NOTHING : String(lines.group[i]), more = queries(i);
      return el("td", { class: "n group" }, more === NOTHING ? text
        : el("abbr", { title: `about ${more} more queries would separate it from the next system` }, text));
    },
    more: (i) => number(queries(i)),
    name: (i) => el("th", { scope: "row" }, HEAT ? "" : chooser(i),
      el("a", { href: ROOT + (lines.page[i] || `submissions/${lines.slug[i]}.html`) }, named(lines.name[i])), samples(i)),
    owner: (i) => el("td", {}, isFirst(i) ? el("bdi", {}, lines.owner[i] || NOTHING)
      : el("a", { href: `${ROOT}owners/${lines.owner[i].toLowerCase()}.html` }, el("bdi", {}, lines.owner[i]))),
    link: (i) => el("td", {}, lines.link[i] ? el("a", { href: lines.link[i], rel: "nofollow" }, siteOf(lines.link[i])) : NOTHING),
    state: (i) => el("td", {}, lines.state[i].split(", ").map(badge)),
    stage: plain("stage"),
    list: plain("list"),
    depth: (i) => number(String(lines.depth[i])),
    mean: (i) => {
      const { mean, done, whole, gain } = derived;
      if (missing(mean[i])) { return el("td", { class: "n part" }, `${done[i]}/${whole} tasks`); }
      if (HEAT) { return shaded(gain[i]); }
      const bounds = chosen() ? "" : [" ", el("span", { class: "between" }, say.between(lines.low[i], lines.high[i]))];
      return el("td", { class: "n" }, el("b", {}, say.score(mean[i])), bounds);
    },
    gain: (i) => number(isStage(i) ? NOTHING : say.signed(derived.gain[i])),
    flops: (i) => number(lines.why[i] && missing(lines.flops[i]) ? el("abbr", { title: lines.why[i] }, NOTHING) : say.three(lines.flops[i])),
    parameters: (i) => number(say.three(lines.parameters[i])),
    latency: (i) => number(say.three(lines.latency[i])),
    zero: (i) => el("td", {}, ZERO[zero(i)]),
    licence: words("licence"),
    training: words("training"),
    date: plain("date"),
    kind: words("kind"),
    family: words("family"),
    base: (i) => el("td", {}, el("a", { href: address({ ...state, base: id(i), page: 1 }),
      "aria-label": `use as baseline: ${lines.name[i]} over ${lines.list[i]}` }, "use as baseline"))
  };

  /* A box in front of a name: the row is one of those to be compared. */
  function chooser(i) {
    const box = el("input", { type: "checkbox", class: "pick", "aria-label": `Choose ${lines.name[i]}` });
    box.checked = state.rows.includes(keyOf(i));
    box.addEventListener("change", () => {
      state.rows = box.checked ? [...state.rows, keyOf(i)] : state.rows.filter((key) => key !== keyOf(i));
      history.replaceState(null, "", address(state)); // the table stays as it is, and so does the focus
      offerComparison();
    });
    return box;
  }

  /* A name whose first part, up to the slash or the colon, narrow screens leave out. */
  function named(name) {
    const [, front, rest] = name.match(/^(.*?(?:: |\/))?(.*)$/s);
    return el("bdi", {}, front ? el("span", { class: "by" }, front) : "", rest);
  }

  function samples(i) {
    const number = lines.samples[i], low = lines.sample_low[i];
    if (!number) { return ""; }
    const range = missing(low) ? "" : `, ${say.between(low, lines.sample_high[i])}`;
    return [" ", el("span", { class: "soft" }, say.counted(number, "sample") + range)];
  }

  /* What a link is called: the Hub, or the host. */
  function siteOf(link) {
    const host = new URL(link).hostname.replace(/^www\./, "");
    return host === "huggingface.co" ? "Hub" : host;
  }

  function shaded(value, mark = "") {
    if (missing(value)) { return el("td", { class: "n gap" }, NOTHING); }
    const step = LIMITS.filter((limit) => Math.abs(value) >= limit).length;
    const kind = step ? (value > 0 ? "up" : "down") + step : "level";
    return el("td", { class: `n ${kind}${mark && " trained"}` }, mark, say.signed(value));
  }

  function taskCell(task, i) {
    const met = lines.exposure[i][task] === "y";
    const mark = met ? el("abbr", { class: "met", title: "the training data meets this task" }, "\u2020") : "";
    if (HEAT) { return shaded(difference(task, i), mark); }
    if (scores[task][i] === null) { return number(NOTHING); }
    const [name, single] = data.tasks[task];
    const place = single && !lines.samples[i] ? `results/${lines.slug[i]}/${name}.${lines.list[i]}.html` : `tasks/${name}.html`;
    return el("td", { class: "n" }, mark, el("a", { href: ROOT + place }, say.score(scores[task][i])));
  }

  function makeColumns() {
    const tasks = data.tasks.map(([name], task) => ({
      key: `t.${name}`, label: name, kind: "number", about: "", task, shown: HEAT || Boolean(data.showTasks),
      value: (i) => HEAT ? difference(task, i) : scores[task][i], cell: (i) => taskCell(task, i)
    }));
    const heat = [["name", "System", "", "", 1], ["list", "Candidates", "", "", data.list ? 0 : 1], ["mean", "Mean", "number", "", 1],
      ["base", "Baseline", null, "compare all systems with this one", 1]];
    const told = HEAT ? heat : data.columns.map(([key, label, , ...rest]) => [key, label, ...rest]);
    const before = !HEAT && told.some(([key]) => key === "gain") ? "gain" : "mean"; // the tasks stand behind it
    return told.flatMap(([key, label, kind, about, shown]) => {
      const column = { key, label, kind, about, shown: Boolean(shown), value: SORTS[key] || ((i) => lines[key][i]), cell: CELLS[key] };
      return key === before ? [column, ...tasks] : [column];
    });
  }

  const columnOf = (key) => columns.find((column) => column.key === key && column.kind !== null);

  function isShown(column) {
    if (column.task !== undefined) {
      if (!scores || !taskPlaces().includes(column.task)) { return false; }
      return state.cols ? state.cols.includes("tasks") : column.shown || Boolean(state.tasks);
    }
    return column.key === "name" || (state.cols ? state.cols.includes(column.key) : column.shown);
  }

  async function loadScores() {
    const shown = state.cols ? state.cols.includes("tasks") : HEAT || data.showTasks;
    if (scores || !(shown || state.tasks || state.sort.some((by) => by.key.startsWith("t.")))) { return; }
    try {
      const { values } = await exabench.load(table.dataset.more);
      if (!scores) {
        scores = values;
        derived = null;
        show();
      }
    } catch { remark("The tasks\u2019 own scores could not be loaded."); }
  }

  /* -- state in the address: #q=mono&stage=bm25&sort=-mean,name&tasks=scifact,nfcorpus&page=2 ---------------- */

  function read() {
    const given = exabench.address();
    if (!given) { return false; }
    state = parsed(given);
    pinned = (given.get("build") || "").slice(0, 64);
    return true;
  }

  function parsed(given) {
    const found = blank(), named = (name) => given.has(name) ? given.get(name).split(",") : null;
    FIELDS.forEach((name) => { found[name] = (given.get(name) || "").slice(0, 300); });
    const tasks = named("tasks") || [];
    found.tasks = some(data.tasks.flatMap(([name], place) => tasks.includes(name) ? [place] : []));
    found.cols = named("cols");
    found.rows = (named("rows") || []).filter((key) => places().some((i) => keyOf(i) === key)).slice(0, MOST);
    found.sort = sorting.parse(given.get("sort") || "").filter((by) => columnOf(by.key));
    found.page = Math.max(1, Math.min(10_000, parseInt(given.get("page"), 10) || 1));
    found.all = given.get("all") === "1";
    return found;
  }

  const some = (tasks) => tasks.length && tasks.length < data.tasks.length ? tasks : null; // all of them is no choice

  const address = (wanted, build = "") => exabench.hashOf({
    ...Object.fromEntries(FIELDS.map((name) => [name, wanted[name]])),
    tasks: wanted.tasks?.map((place) => data.tasks[place][0]).join(), cols: wanted.cols?.join(),
    sort: sorting.text(wanted.sort), rows: wanted.rows.join(), page: wanted.page > 1 && !wanted.all ? String(wanted.page) : "", all: wanted.all ? "1" : "", build
  });

  function go(quietly) {
    const target = address(state);
    if (target === (location.hash || "#")) { show(); return; }
    if (quietly) { location.replace(target); } else { location.hash = target; }
  }

  /* -- filtering and sorting ------------------------------------------------------------------------------ */

  function filter() {
    const s = state, { mean } = derived, wanted = s.q.toLowerCase().split(/\s+/).filter(Boolean);
    const from = parseFloat(s.from), to = parseFloat(s.to), open = s.licence === "(open)", size = lines.parameters;
    const tests = [
      HEAT && !s.base && ((i) => !isStage(i)),
      s.kind && ((i) => lines.kind[i] === s.kind),
      s.stage && ((i) => lines.stage[i] === s.stage),
      s.depth && ((i) => String(lines.depth[i]) === s.depth),
      s.state && ((i) => lines.state[i].split(", ").includes(s.state)),
      s.whole && ((i) => !missing(mean[i])),
      s.zero && ((i) => ZERO[zero(i)] === s.zero),
      s.licence && ((i) => open ? lines.open[i] : lines.licence[i] === s.licence),
      s.owner && ((i) => lines.owner[i] === s.owner),
      !Number.isNaN(from) && ((i) => isToBeat(i) || (size[i] !== null && size[i] >= from)),
      !Number.isNaN(to) && ((i) => isToBeat(i) || (size[i] !== null && size[i] <= to)),
      wanted.length && ((i) => wanted.every((word) => data.texts[i].includes(word)))
    ].filter(Boolean);
    return places().filter((i) => tests.every((test) => test(i)));
  }

  /* What a column sorts by, a number for each line: of texts their places in order; NaN where there is none. */
  function keysOf(key) {
    const { keys } = derived;
    if (!keys.has(key)) {
      const values = places().map(columnOf(key).value);
      const ranks = new Map(distinct(values.filter((value) => typeof value === "string")).map((text, rank) => [text, rank]));
      keys.set(key, Float64Array.from(values, (value) => missing(value) ? NaN : typeof value === "string" ? ranks.get(value) : value));
    }
    return keys.get(key);
  }

  function order(found) {
    // Of chosen tasks the old order says nothing: their own mean does.
    const sorts = state.sort.length || !chosen() ? state.sort : [{ key: "mean", down: true }];
    const by = sorts.filter(({ key }) => scores || !key.startsWith("t.")).map(({ key, down }) => ({ keys: keysOf(key), turn: down ? -1 : 1 }));
    return found.sort((a, b) => {
      for (const { keys, turn } of by) {
        const lacks = Number.isNaN(keys[a]) - Number.isNaN(keys[b]); // what is missing stays last, whichever way round
        if (lacks) { return lacks; }
        if (keys[a] !== keys[b] && !Number.isNaN(keys[a])) { return (keys[a] - keys[b]) * turn; }
      }
      return a - b;
    });
  }

  /* -- showing -------------------------------------------------------------------------------------------- */

  function show() {
    loadScores();
    derive();
    const found = order(filter()), pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages);
    const start = (state.page - 1) * PAGE, visible = columns.filter(isShown), keys = visible.map((column) => column.key).join();
    if (keys !== drawnHeads) { table.tHead.rows[0].replaceChildren(...visible.map(head)); }
    drawnHeads = keys;
    visible.forEach((column, place) => sorting.mark(table.tHead.rows[0].cells[place], column.key, state.sort));
    const shown = state.all ? found : found.slice(start, start + PAGE), ranked = !state.sort.length && !chosen();
    let group = 0;
    table.tBodies[0].replaceChildren(...shown.map((i) => {
      const opens = ranked && group && lines.group[i] > group; // a line is drawn between two groups
      group = Math.max(group, lines.group[i] || 0);
      const kind = [isFirst(i) && "stage", isFirst(i) && data.list && data.list !== lines.list[i] && "aside", opens && "opens"].filter(Boolean).join(" ");
      return el("tr", { class: kind || null }, visible.map((column) => column.cell(i)));
    }));
    turnPages(found.length, pages);
    fill();
    offerComparison();
    announce(found.length, pages);
  }

  /* -- what is done with the rows shown: compared, or taken away as a file ------------------------------------ */

  function offerComparison() {
    const link = byId("compare"), [a, b] = state.rows, several = state.rows.length > 2;
    if (!link) { return; }
    link.textContent = b ? `Compare ${state.rows.length} systems` : `Compare: choose ${a ? "1 more row" : "2 rows"}`;
    link.toggleAttribute("aria-disabled", !b);
    if (!b) { link.removeAttribute("href"); return; }
    link.removeAttribute("aria-disabled");
    link.href = ROOT + (several ? `significance.html${exabench.hashOf({ of: table.dataset.view, lines: state.rows.join() })}`
      : `compare.html${exabench.hashOf({ a, b })}`);
  }

  /* The rows that pass the filters, in their order, by the columns that are shown: [heads, cells of each row]. */
  function view(headsOf, cellsOf) {
    const found = order(filter()), visible = columns.filter(isShown);
    return [visible.flatMap(headsOf), ...found.map((i) => visible.flatMap((column) => cellsOf(column, i)))];
  }

  function asCsv() {
    const cell = (value) => {
      const text = missing(value) ? "" : String(value), safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const rows = view(({ key, label }) => key === "mean" && !chosen() ? [label, "low", "high"] : [label], ({ key, value }, i) => {
      if (key === "zero") { return [ZERO[zero(i)]]; }
      return key === "mean" && !chosen() ? [value(i), lines.low[i], lines.high[i]] : [value(i)];
    });
    return rows.map((cells) => `${cells.map(cell).join()}\n`).join("");
  }

  function asLatex() {
    const SIGNS = { "\\": "\\textbackslash{}", "\u2013": "--", "\u2212": "$-$", "\u2020": "$\\dagger$", "^": "\\^{}", "~": "\\~{}" };
    const escaped = (text) => text.replace(/[\\{}$&#_%^~\u2013\u2212\u2020]/g, (sign) => SIGNS[sign] || `\\${sign}`);
    const [heads, ...rows] = view(({ label }) => [escaped(label)], ({ key, cell }, i) => [escaped(key === "name" ? lines.name[i] : cell(i).textContent)]);
    const kinds = columns.filter(isShown).map(({ kind }) => kind ? "r" : "l").join("");
    const line = (cells) => `${cells.join(" & ")} \\\\\n`;
    return `% needs \\usepackage{booktabs}\n\\begin{tabular}{${kinds}}\n\\toprule\n${line(heads)}\\midrule\n${rows.map(line).join("")}`
      + "\\bottomrule\n\\end{tabular}\n";
  }

  function save(ending, text) {
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: `${table.dataset.name}.${ending}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function head(column) {
    const label = column.about ? el("abbr", { title: column.about }, column.label) : column.label;
    const inside = column.kind === null ? label : sorting.button(label, (adds) => press(column, adds));
    return el("th", { scope: "col", class: column.kind ? "n" : null, "data-key": column.key }, inside);
  }

  function press(column, adds) {
    change();
    state.sort = sorting.pressed(state.sort, column.key, column.kind === "number", adds);
    state.page = 1;
    go(false);
  }

  function turnPages(found, pages) {
    const link = (given, label, name) => el("a", { href: address({ ...state, ...given }), "aria-label": name }, label);
    const to = (page, label, name) => page === state.page || page < 1 || page > pages
      ? el("span", { class: "soft" }, label) : link({ page }, label, name);
    pager.hidden = found <= PAGE;
    pager.replaceChildren(...(state.all ? [link({ all: false, page: 1 }, `Show ${PAGE} a page`)]
      : [to(1, "First", "first page"), to(state.page - 1, "Previous", "previous page"),
        el("span", {}, `Page ${state.page} of ${pages}`), to(state.page + 1, "Next", "next page"), to(pages, "Last", "last page"),
        link({ all: true, page: 1 }, `Show all ${found}`)]));
  }

  function announce(shown, pages) {
    const all = HEAT && !state.base ? count - stages.size : count;
    status.textContent = [`${shown} of ${all} systems shown`, pages > 1 && !state.all && `page ${state.page} of ${pages}`,
      sorting.said(state.sort, (key) => columnOf(key).label)].filter(Boolean).join(", ");
    byId("permalink").href = address(state, data.build);
    const names = state.tasks?.map((place) => data.tasks[place][0]).join(", ");
    remark([
      !shown && "No system passes all of these filters.",
      pinned && pinned !== data.build
        && `This address was made for build ${pinned}; the board is now at build ${data.build}: systems and numbers may differ.`,
      names && `Means are over ${state.tasks.length} of ${data.tasks.length} tasks (${names}). Rank groups and intervals belong to all tasks `
        + "and are not shown.",
      HEAT && state.base && lineOf(state.base) < 0 && "That baseline is not on this board: differences are to the first stage."
    ].filter(Boolean).join(" "));
    const said = FIELDS.filter((name) => state[name]).map((name) => name === "whole" ? ABOUT[name] : `${ABOUT[name]}: ${state[name]}`);
    form.dataset.printed = said.length ? `Filtered by ${said.join("; ")}.` : "";
  }

  const remark = (text) => { byId("remark").textContent = text; byId("remark").hidden = !text; };

  /* -- the form ------------------------------------------------------------------------------------------- */

  function offer(name, values, every = "all") {
    const field = form.elements[name];
    field?.replaceChildren(el("option", { value: "" }, every),
      ...values.map((value) => [value].flat()).map(([value, label]) => el("option", { value }, label || value)));
    if (field) { field.closest(".field").hidden = values.length < 2; }
  }

  function offerAll() {
    const isOne = Boolean(data.list); // a contest
    offer("kind", distinct(lines.kind), "all types");
    offer("stage", isOne ? [] : distinct(lines.stage), "all first stages");
    offer("depth", isOne ? [] : distinct(lines.depth.map(String)));
    offer("state", distinct(lines.state.flatMap((text) => text.split(", "))));
    offer("zero", ZERO.filter((_, place) => places().some((i) => zero(i) === place)));
    offer("licence", [...lines.open.includes(1) ? [["(open)", "any open licence"]] : [], ...distinct(lines.licence)]);
    offer("owner", distinct(lines.owner));
    boxes("tasks-chosen", data.tasks.map(([name], place) => [String(place), name]), (values) => {
      state.tasks = some(values.map(Number));
      state.page = 1;
    });
    boxes("columns-chosen", [...data.columns.filter(([key]) => key !== "name"), ["tasks", "Tasks"]], (values) => { state.cols = ["name", ...values]; });
    byId("choose-tasks").hidden = data.tasks.length < 2;
    byId("f-from").closest(".fields").querySelectorAll(".number").forEach((field) => { field.hidden = !lines.parameters.some((size) => size !== null); });
    byId("f-whole").closest(".check").hidden = !lines.mean.some(missing);
    offerViews();
  }

  /* A ready view is offered where it shows something, and not everything. */
  function offerViews() {
    const now = state;
    derive();
    state = parsed(new URLSearchParams());
    const all = filter().length;
    for (const link of byId("presets").querySelectorAll("a")) {
      state = parsed(new URLSearchParams(link.hash.slice(1)));
      const found = filter().length;
      link.parentElement.hidden = !found || found === all;
    }
    state = now;
  }

  function boxes(name, offered, listen) {
    const place = byId(name);
    place?.append(...offered.map(([value, label]) => el("label", { class: "check" }, el("input", { type: "checkbox", value }), label)));
    place?.addEventListener("change", (event) => {
      event.stopPropagation();
      change();
      listen([...place.querySelectorAll("input:checked")].map((box) => box.value));
      go(false);
    });
  }

  function fill() {
    const near = [...stages.values(), ...places().slice(0, 50), lineOf(state.base)].filter((i) => i >= 0);
    offer("base", [...new Set(near)].map((i) => [id(i), `${lines.name[i]} over ${lines.list[i]}`]), "each system\u2019s first stage");
    for (const name of FIELDS) {
      const field = form.elements[name];
      if (field?.type === "checkbox") { field.checked = Boolean(state[name]); }
      else if (field && field.value !== state[name] && !(typing && name === "q")) { field.value = state[name]; }
    }
    const tick = (name, isOn) => document.querySelectorAll(`#${name} input`).forEach((box) => { box.checked = isOn(box.value); });
    tick("tasks-chosen", (value) => !state.tasks || state.tasks.includes(Number(value)));
    tick("columns-chosen", (value) => state.cols ? state.cols.includes(value)
      : value === "tasks" ? Boolean(data.showTasks || state.tasks) : columns.some((column) => column.key === value && column.shown));
    if (["zero", "licence", "owner", "from", "to"].some((name) => state[name])) { byId("more").open = true; }
    if (state.tasks) { byId("choose-tasks").open = true; }
  }

  function change() { // takes what the form says now, words still being typed included
    clearTimeout(typing);
    typing = 0;
    for (const name of FIELDS) {
      const field = form.elements[name];
      if (field) { state[name] = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value; }
    }
  }

  function listen() {
    const changed = (quietly) => { change(); state.page = 1; go(quietly); };
    form.hidden = false;
    byId("only")?.remove(); // all lines are here now, page by page
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", ({ target }) => { if (target.name && target.name !== "q") { changed(false); } });
    form.elements.q.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(changed, 120, true);
    });
    byId("as-csv")?.addEventListener("click", () => save("csv", asCsv()));
    byId("as-latex")?.addEventListener("click", () => save("tex", asLatex()));
    byId("reset").addEventListener("click", (event) => {
      event.preventDefault();
      clearTimeout(typing);
      typing = 0;
      state = blank();
      go(false);
      show();
      form.elements.q.focus();
    });
    byId("permalink").addEventListener("click", (event) => { // without a clipboard the address bar has it
      const link = event.target, told = (text) => {
      link.textContent = text;
      setTimeout(() => { link.textContent = "Copy link"; }, 3000);
    };
    if (navigator.clipboard) { navigator.clipboard.writeText(link.href).then(() => told("Link copied"), () => told("The link is in the address bar")); }
    else { told("The link is in the address bar"); }
    });
    window.addEventListener("hashchange", () => { if (read()) { show(); } });
  }

  exabench.overview = (told) => {
    data = told;
    const given = data.lines, scaled = (values, unit) => values.map((value) => value === null ? null : value / unit);
    count = given.system.length;
    lines = {
      ...given, name: given.system, kind: given.type, list: given.candidates, more: given.more_queries, stage: given.first_stage, state: given.states, gain: given.difference, training: given.training_data,
      flops: scaled(given.flops_exact, 1e12), parameters: scaled(given.parameters, 1e6), latency: given.seconds_p50
    };
    stages = new Map(); // candidate list -> the line of its own order
    for (const i of places()) {
      if (isFirst(i)) { stages.set(lines.list[i], i); }
    }
    const searched = ["name", "list", "state", "owner", "licence", "training", "kind", "family"];
    data.texts = places().map((i) => searched.map((key) => lines[key][i]).join(" ").toLowerCase());
    columns = makeColumns();
    state = blank();
    listen();
    offerAll();
    if (!read()) { state = blank(); }
    show();
  };
})();
