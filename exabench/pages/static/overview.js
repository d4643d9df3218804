/* The overview and the heat map: columns that a reader sorts, filters, chooses and turns the pages of. The page holds
   the first lines as a plain table; all state is in the address, so that it can be sent, kept and gone back to. */
(() => {
  "use strict";

  const table = document.getElementById("board"), form = document.getElementById("filter");
  if (!table || !form) { return; }
  const HEAT = table.dataset.kind === "heat", ROOT = table.dataset.root, PAGE = 100, NOTHING = "\u2013", MINUS = "\u2212";
  const LIMITS = [50, 200, 500, 1000]; // hundredths of a point where the heat map takes its next colour
  const FIELDS = ["q", "stage", "depth", "state", "whole", "zero", "licence", "owner", "from", "to", "base"];
  const ABOUT = { // how the filters are called in words, on paper
    q: "search", stage: "first stage", depth: "depth", state: "state", whole: "only complete lines", zero: "zero-shot",
    licence: "licence", owner: "owner", from: "parameters from", to: "parameters to", base: "compared with"
  };
  const body = table.tBodies[0], pager = document.getElementById("pager"), status = document.getElementById("status");
  const { el } = exabench;
  let data, lines, columns, scores = null, nudges = null, asked = false, state = null, pinned = "", typing = 0;
  let texts = null, drawnHeads = "", derived = null;

  const blank = () => ({
    ...Object.fromEntries(FIELDS.map((name) => [name, ""])), tasks: null, cols: null, sort: [], page: 1, all: false
  });

  /* -- numbers as the other pages write them -------------------------------------------------------------- */

  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  const tenths = (value) => Math.floor((Math.abs(Math.round(value)) + 5) / 10); // halves up: see _format.hundredths
  const score = (value) => missing(value) ? NOTHING : (tenths(value) / 10).toFixed(1);
  function signed(value) {
    if (missing(value)) { return NOTHING; }
    const rounded = tenths(value);
    return (rounded ? (value < 0 ? MINUS : "+") : "") + (rounded / 10).toFixed(1);
  }
  const formats = new Map();
  function three(value) {
    if (missing(value)) { return NOTHING; }
    const places = value ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))) : 0;
    if (!formats.has(places)) {
      formats.set(places, new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
    }
    return formats.get(places).format(value);
  }
  const summed = (steps) => { let sum = 0; return steps.map((step) => step === null ? null : (sum += step)); };

  /* -- the lines ------------------------------------------------------------------------------------------ */

  function prepare(given) {
    const { who, list, lists } = given;
    const slug = given.names.map((name, place) => given.slugs[place] || name.replaceAll("/", "--"));
    const owner = given.names.map((name, place) => given.slugs[place] ? slug[place].split("--")[0] : name.split("/")[0]);
    const owners = [...new Set(owner)].sort(new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare);
    const held = new Map(owners.map((name) => [name, new Set()]));
    owner.forEach((name, place) => held.get(name).add(slug[place]));
    const stages = [...new Set(lists.map((one) => one[1]))];
    const starts = new Map(); // candidate list -> the line of its own order
    who.forEach((place, i) => { if (given.slugs[place]) { starts.set(list[i], i); } });
    return {
      count: who.length, slug, owner, owners, held, stages, starts,
      isStage: (i) => Boolean(given.slugs[who[i]]),
      stage: (i) => lists[list[i]][1],
      ownerPlace: owner.map((name) => owners.indexOf(name)),
      stagePlace: lists.map((one) => stages.indexOf(one[1])),
      id: (i) => `${slug[who[i]]}@${lists[list[i]][0]}`
    };
  }

  const chosen = () => state.tasks && scores ? state.tasks : null;
  const taskPlaces = () => chosen() || data.tasks.map((_, place) => place);

  /* What follows from the chosen tasks and the chosen baseline: means, gains, and who they are held against. */
  function derive() {
    if (derived && derived.of === state) { return derived; }
    const key = JSON.stringify([chosen(), HEAT && state.base, Boolean(scores)]);
    if (derived && derived.key === key) { derived.of = state; return derived; }
    const tasks = chosen(), whole = tasks ? tasks.length : data.tasks.length;
    let mean = data.mean, done = data.finished;
    if (tasks) {
      mean = new Array(lines.count);
      done = new Uint16Array(lines.count);
      for (let i = 0; i < lines.count; i += 1) {
        let sum = 0;
        for (const task of tasks) {
          const value = scores[task][i];
          if (value !== null) { sum += value; done[i] += 1; }
        }
        mean[i] = done[i] === whole ? sum / whole : null;
      }
    }
    const base = HEAT && state.base ? lineOf(state.base) : -1;
    const before = (i) => base >= 0 ? base : lines.starts.get(data.list[i]);
    const gain = !tasks && base < 0 ? data.gain : mean.map((own, i) => {
      const from = before(i);
      return missing(own) || from === undefined || missing(mean[from]) || (from === i && base < 0) ? null : own - mean[from];
    });
    derived = { of: state, key, mean, done, whole, gain, before, keys: new Map() };
    return derived;
  }

  function lineOf(id) {
    for (let i = 0; i < lines.count; i += 1) { if (lines.id(i) === id) { return i; } }
    return -1;
  }

  function difference(task, i) {
    const from = derive().before(i), own = scores[task][i];
    if (own === null || from === undefined || scores[task][from] === null) { return null; }
    // What rounding took from a gain over the first stage is given beside the scores, so that all pages say the same.
    return own - scores[task][from] + (lines.starts.get(data.list[i]) === from ? nudges[task][i] : 0);
  }

  function met(task, i) { return data.exposures[data.exposure[data.who[i]]][task] === "y"; }

  const ZERO = ["yes", "unknown", "no"];

  /* For each kind of exposure the place in ZERO that it has over the chosen tasks. */
  function zeros() {
    const made = derive();
    made.zeros = made.zeros || data.exposures.map((letters) => {
      const told = taskPlaces().map((task) => letters[task]);
      return told.includes("y") ? 2 : told.includes("u") ? 1 : 0;
    });
    return made.zeros;
  }

  const zero = (i) => ZERO[zeros()[data.exposure[data.who[i]]]];

  /* -- the columns: what they sort by, and what their cells hold ------------------------------------------- */

  const coded = (codes, words) => (i) => words[codes[data.who[i]]] ? codes[data.who[i]] : NaN;
  const SORTS = {
    group: (i) => chosen() ? NaN : data.group[i],
    name: (i) => data.who[i],
    owner: (i) => lines.ownerPlace[data.who[i]],
    state: (i) => data.state[i],
    stage: (i) => lines.stagePlace[data.list[i]],
    list: (i) => data.list[i],
    depth: (i) => data.lists[data.list[i]][2],
    mean: (i) => HEAT ? derive().gain[i] : derive().mean[i],
    gain: (i) => derive().gain[i],
    flops: (i) => data.flops[i],
    parameters: (i) => data.parameters[i],
    latency: (i) => data.latency[i],
    zero: (i) => lines.isStage(i) ? NaN : zeros()[data.exposure[data.who[i]]],
    licence: (i) => coded(data.licence, data.licences)(i),
    training: (i) => coded(data.training, data.trainings)(i),
    date: (i) => data.date[i],
    kind: (i) => coded(data.kind, data.kinds)(i),
    family: (i) => coded(data.family, data.families)(i)
  };
  const badge = (name) => el("span", {
    class: `badge ${{ reproduced: "b-own", "re-computed": "b-sent" }[name] || "b-other"}`
  }, name);
  const words = (codes, list) => (i) => el("td", { class: "t" }, el("bdi", {}, list[codes[data.who[i]]] || NOTHING));
  const number = (text) => el("td", { class: "n" }, text);
  const unknown = (text, why) => el("td", { class: "n" }, why && text === NOTHING ? el("abbr", { title: why }, text) : text);
  const CELLS = {
    group: (i) => el("td", { class: "n group" }, chosen() || data.group[i] === null ? NOTHING : String(data.group[i])),
    name: (i) => el("th", { scope: "row" }, el("a", { href: `${ROOT}submissions/${lines.slug[data.who[i]]}.html` },
      el("bdi", {}, data.names[data.who[i]]))),
    owner: (i) => {
      const name = lines.owner[data.who[i]];
      const place = `${ROOT}owners/${name.toLowerCase()}.html`;
      return el("td", { class: "o" }, el("a", { href: place }, el("bdi", {}, name)), " ", el("span", { class: "soft" }, `(${lines.held.get(name).size})`));
    },
    state: (i) => el("td", {}, ...data.states[data.state[i]].split(" ").filter(Boolean).map(badge)),
    stage: (i) => el("td", {}, lines.stage(i)),
    list: (i) => el("td", {}, data.lists[data.list[i]][0]),
    depth: (i) => number(String(data.lists[data.list[i]][2])),
    mean: (i) => {
      const { mean, done, whole, gain } = derive();
      if (missing(mean[i])) { return el("td", { class: "n part" }, `${done[i]}/${whole} tasks`); }
      if (HEAT) { return shaded(gain[i], null); }
      const bounds = chosen() ? [] : [" ", el("span", { class: "between" },
        `${score(data.mean[i] - data.below[i])}${NOTHING}${score(data.mean[i] + data.above[i])}`)];
      return el("td", { class: "n" }, el("b", {}, score(mean[i])), ...bounds);
    },
    gain: (i) => number(lines.isStage(i) ? NOTHING : signed(derive().gain[i])),
    flops: (i) => unknown(three(data.flops[i]), data.reasons[data.why[i]]),
    parameters: (i) => number(three(data.parameters[i])),
    latency: (i) => number(three(data.latency[i])),
    zero: (i) => el("td", {}, lines.isStage(i) ? NOTHING : zero(i)),
    licence: (i) => words(data.licence, data.licences)(i),
    training: (i) => words(data.training, data.trainings)(i),
    date: (i) => el("td", {}, data.dates[data.date[i]]),
    kind: (i) => words(data.kind, data.kinds)(i),
    family: (i) => words(data.family, data.families)(i),
    base: (i) => el("td", {}, el("a", {
      href: address({ ...state, base: lines.id(i), page: 1 }),
      "aria-label": `compare all with ${data.names[data.who[i]]} over ${data.lists[data.list[i]][0]}`
    }, "compare all"))
  };

  function shaded(value, mark) {
    if (missing(value)) { return el("td", { class: "n gap" }, NOTHING); }
    const step = LIMITS.filter((limit) => Math.abs(Math.round(value)) >= limit).length;
    const kind = step ? (value > 0 ? "up" : "down") + step : "level";
    return el("td", { class: `n ${kind}${mark ? " trained" : ""}` }, mark, signed(value));
  }

  function taskCell(task, i) {
    const mark = met(task, i) ? el("abbr", { class: "met", title: "the training data meets this task" }, "\u2020") : null;
    if (HEAT) { return shaded(difference(task, i), mark); }
    const value = scores[task][i];
    if (value === null) { return number(NOTHING); }
    const [name, single] = data.tasks[task], slug = lines.slug[data.who[i]];
    const place = single ? `results/${slug}/${name}.${data.lists[data.list[i]][0]}.html` : `tasks/${name}.html`;
    return el("td", { class: "n" }, mark, el("a", { href: ROOT + place }, score(value)));
  }

  function makeColumns() {
    const made = (HEAT ? [["name", "Submission", "", "", 1], ["list", "Candidates", "", "", 1],
      ["mean", "Mean", "number", "", 1], ["tasks"], ["base", "Baseline", null, "hold all lines against this one", 1]]
      : data.columns.flatMap((column) => column[0] === "zero" ? [column, ["tasks"]] : [column]));
    return made.flatMap(([key, label, kind, about, shown]) => key === "tasks"
      ? data.tasks.map(([name], task) => ({
        key: `t.${name}`, label: name, kind: "number", about: "", task, shown: HEAT || Boolean(data.showTasks),
        sort: (i) => HEAT ? difference(task, i) : scores[task][i], cell: (i) => taskCell(task, i)
      }))
      : [{ key, label, kind, about, shown: Boolean(shown), sort: SORTS[key], cell: CELLS[key] }]);
  }

  const columnOf = (key) => columns.find((column) => column.key === key && column.sort);

  function isShown(column) {
    if (column.task !== undefined) {
      if (!scores || !taskPlaces().includes(column.task)) { return false; }
      return state.cols ? state.cols.includes("tasks") : column.shown || Boolean(state.tasks);
    }
    return column.key === "name" || (state.cols ? state.cols.includes(column.key) : column.shown);
  }

  function wantsScores() {
    const shown = state.cols ? state.cols.includes("tasks") : HEAT || data.showTasks;
    return Boolean(shown || state.tasks || state.sort.some((by) => by.key.startsWith("t.")));
  }

  function loadScores() {
    if (asked) { return; }
    asked = true;
    exabench.load(table.dataset.more, () => remark("The tasks\u2019 own scores could not be loaded."));
  }

  /* -- state in the address: #q=mono&stage=bm25&sort=-mean,name&tasks=scifact,nfcorpus&page=2 ---------------- */

  function read() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) { return false; } // an anchor, such as the skip link's, is not a state
    state = parsed(hash);
    pinned = (new URLSearchParams(hash).get("build") || "").slice(0, 64);
    return true;
  }

  function parsed(hash) {
    const given = new URLSearchParams(hash), found = blank();
    FIELDS.forEach((name) => { found[name] = (given.get(name) || "").slice(0, 300); });
    const named = (name) => given.has(name) ? given.get(name).split(",") : null;
    const tasks = named("tasks");
    const places = tasks ? data.tasks.flatMap(([name], place) => tasks.includes(name) ? [place] : []) : [];
    found.tasks = places.length && places.length < data.tasks.length ? places : null;
    found.cols = named("cols");
    found.sort = (given.get("sort") || "").split(",")
      .map((text) => ({ key: text.replace(/^-/, ""), down: text.startsWith("-") })).filter((by) => columnOf(by.key));
    found.page = Math.max(1, Math.min(10_000, parseInt(given.get("page"), 10) || 1));
    found.all = given.get("all") === "1";
    return found;
  }

  function address(wanted, build = "") {
    const given = new URLSearchParams();
    FIELDS.forEach((name) => { if (wanted[name]) { given.set(name, wanted[name]); } });
    let text = given.toString();
    const add = (name, value) => { text += `${text && "&"}${name}=${value}`; };
    if (wanted.tasks) { add("tasks", wanted.tasks.map((place) => encodeURIComponent(data.tasks[place][0])).join(",")); }
    if (wanted.cols) { add("cols", wanted.cols.map(encodeURIComponent).join(",")); }
    if (wanted.sort.length) { add("sort", wanted.sort.map((by) => (by.down ? "-" : "") + encodeURIComponent(by.key)).join(",")); }
    if (wanted.page > 1 && !wanted.all) { add("page", wanted.page); }
    if (wanted.all) { add("all", 1); }
    if (build) { add("build", build); }
    return `#${text}`;
  }

  function go(quietly) {
    const target = address(state);
    if (derived) { derived.of = null; }
    if (target === (location.hash || "#")) { show(); return; }
    if (quietly) { location.replace(target); } else { location.hash = target; }
  }

  /* -- filtering and sorting ------------------------------------------------------------------------------ */

  function textOf(i) {
    if (texts === null) { texts = new Array(lines.count); }
    if (texts[i] === undefined) {
      const place = data.who[i];
      texts[i] = [data.names[place], data.lists[data.list[i]][0], data.states[data.state[i]], data.licences[data.licence[place]],
        data.trainings[data.training[place]], data.kinds[data.kind[place]], data.families[data.family[place]]]
        .join(" ").toLowerCase();
    }
    return texts[i];
  }

  function filter() {
    const tests = [], s = state, { mean } = derive(), { who } = data;
    const ofList = (fits) => { const ok = data.lists.map(fits); tests.push((i) => ok[data.list[i]]); };
    const ofWho = (codes, list, fits) => { const ok = list.map(fits); tests.push((i) => ok[codes[who[i]]]); };
    if (HEAT && !s.base) { tests.push((i) => !lines.isStage(i)); }
    if (s.stage) { ofList((one) => one[1] === s.stage); }
    if (s.depth) { ofList((one) => String(one[2]) === s.depth); }
    if (s.state) {
      const ok = data.states.map((text) => text.split(" ").includes(s.state));
      tests.push((i) => ok[data.state[i]]);
    }
    if (s.whole) { tests.push((i) => !missing(mean[i])); }
    if (s.zero) { ofWho(data.exposure, zeros(), (place) => ZERO[place] === s.zero); tests.push((i) => !lines.isStage(i)); }
    if (s.licence) { ofWho(data.licence, data.licences, (text, place) => s.licence === "(open)" ? data.open[place] : text === s.licence); }
    if (s.owner) { ofWho(lines.ownerPlace, lines.owners, (name) => name === s.owner); }
    const within = (name, fits) => {
      const bound = parseFloat(s[name]);
      if (!Number.isNaN(bound)) { tests.push((i) => data.parameters[i] !== null && fits(data.parameters[i], bound)); }
    };
    within("from", (size, bound) => size >= bound);
    within("to", (size, bound) => size <= bound);
    const wanted = s.q.toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length) { tests.push((i) => { const text = textOf(i); return wanted.every((word) => text.includes(word)); }); }
    const found = [];
    for (let i = 0; i < lines.count; i += 1) { if (tests.every((test) => test(i))) { found.push(i); } }
    return found;
  }

  function keysOf(key) {
    const { keys } = derive();
    if (!keys.has(key)) {
      const { sort } = columnOf(key), made = new Float64Array(lines.count);
      for (let i = 0; i < lines.count; i += 1) { const value = sort(i); made[i] = missing(value) ? NaN : value; }
      keys.set(key, made);
    }
    return keys.get(key);
  }

  function order(found) {
    // Of chosen tasks the old order says nothing: their own mean does.
    const sorts = state.sort.length || !chosen() ? state.sort : [{ key: "mean", down: true }];
    const by = sorts.filter(({ key }) => scores || !key.startsWith("t."))
      .map(({ key, down }) => ({ keys: keysOf(key), turn: down ? -1 : 1 }));
    return by.length === 0 ? found : found.sort((a, b) => {
      for (const { keys, turn } of by) {
        const x = keys[a], y = keys[b];
        if (x !== y) {
          const lacksX = x !== x, lacksY = y !== y; // NaN: what is missing stays last, whichever way round
          if (lacksX !== lacksY) { return lacksX ? 1 : -1; }
          if (!lacksX) { return (x - y) * turn; }
        }
      }
      return a - b;
    });
  }

  /* -- showing -------------------------------------------------------------------------------------------- */

  function show() {
    if (wantsScores() && !scores) { loadScores(); }
    const found = order(filter()), pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages);
    const start = (state.page - 1) * PAGE;
    draw(state.all ? found : found.slice(start, start + PAGE));
    turnPages(found.length, pages);
    fill();
    announce(found.length, pages);
  }

  function draw(shown) {
    const visible = columns.filter(isShown), keys = visible.map((column) => column.key).join();
    if (keys !== drawnHeads) {
      table.tHead.rows[0].replaceChildren(...visible.map(head));
      drawnHeads = keys;
    }
    markHeads(visible);
    body.replaceChildren(...shown.map((i) => {
      const row = el("tr", lines.isStage(i) ? { class: "stage" } : {});
      visible.forEach((column) => row.append(column.cell(i)));
      return row;
    }));
  }

  function head(column) {
    const label = column.about ? el("abbr", { title: column.about }, column.label) : column.label;
    const inside = column.sort ? el("button", { type: "button" }, label, el("span", { class: "dir", "aria-hidden": "true" })) : label;
    const made = el("th", { scope: "col", class: column.kind ? "n" : null, "data-key": column.key }, inside);
    if (column.sort) { inside.addEventListener("click", (event) => press(column, event.shiftKey)); }
    return made;
  }

  function press(column, adds) {
    change();
    const at = state.sort.findIndex((by) => by.key === column.key);
    const turned = at >= 0 && (adds || state.sort.length === 1 || at === 0);
    const by = { key: column.key, down: turned ? !state.sort[at].down : column.kind === "number" };
    if (!adds) { state.sort = [by]; } else if (at >= 0) { state.sort[at] = by; } else { state.sort.push(by); }
    state.page = 1;
    go(false);
  }

  function markHeads(visible) {
    visible.forEach((column, place) => {
      const cell = table.tHead.rows[0].cells[place], button = cell.querySelector("button");
      const at = state.sort.findIndex((by) => by.key === column.key);
      cell.removeAttribute("aria-sort");
      if (!button) { return; }
      button.removeAttribute("data-dir");
      button.querySelector(".dir").textContent = at >= 0 && state.sort.length > 1 ? String(at + 1) : "";
      if (at >= 0) { button.dataset.dir = state.sort[at].down ? "down" : "up"; }
      if (at === 0) { cell.setAttribute("aria-sort", state.sort[0].down ? "descending" : "ascending"); }
    });
  }

  function turnPages(found, pages) {
    const to = (page, label, name) => page === state.page || page < 1 || page > pages
      ? el("span", { class: "soft" }, label) : el("a", { href: address({ ...state, page }), "aria-label": name }, label);
    pager.hidden = found <= PAGE;
    pager.replaceChildren(...(state.all
      ? [el("a", { href: address({ ...state, all: false, page: 1 }) }, `Show ${PAGE} a page`)]
      : [to(1, "First", "first page"), to(state.page - 1, "Previous", "previous page"),
        el("span", {}, `Page ${state.page} of ${pages}`), to(state.page + 1, "Next", "next page"), to(pages, "Last", "last page"),
        el("a", { href: address({ ...state, all: true, page: 1 }) }, `Show all ${found}`)]));
  }

  function announce(shown, pages) {
    const keys = state.sort.map((by) => `${columnOf(by.key).label}, ${by.down ? "descending" : "ascending"}`);
    const all = HEAT && !state.base ? lines.count - lines.starts.size : lines.count;
    const paged = pages > 1 && !state.all ? `page ${state.page} of ${pages}` : "";
    status.textContent = [`${shown} of ${all} shown`, paged, keys.length ? `sorted by ${keys.join("; then ")}` : ""]
      .filter(Boolean).join(", ");
    document.getElementById("permalink").href = address(state, data.build);
    const notes = shown ? [] : ["No line fits all of these filters."];
    if (pinned && pinned !== data.build) {
      notes.push(`This address was made for build ${pinned}; the board is now at build ${data.build}: lines and numbers may differ.`);
    }
    if (state.tasks) {
      notes.push(`Means are over ${state.tasks.length} of ${data.tasks.length} tasks (${state.tasks.map((place) => data.tasks[place][0])
        .join(", ")}). Rank groups and intervals belong to all tasks and are not shown.`);
    }
    if (state.base && HEAT && lineOf(state.base) < 0) { notes.push("That baseline is not on this board: differences are to the first stage."); }
    remark(notes.join(" "));
    const said = FIELDS.filter((name) => state[name]).map((name) => name === "whole" ? ABOUT[name] : `${ABOUT[name]}: ${state[name]}`);
    form.dataset.printed = said.length ? `Filtered by ${said.join("; ")}.` : "";
  }

  function remark(text) {
    const line = document.getElementById("remark");
    line.textContent = text;
    line.hidden = !text;
  }

  /* -- the form ------------------------------------------------------------------------------------------- */

  function offer(name, values, every = "all") {
    const field = form.elements[name];
    if (!field) { return; }
    field.replaceChildren(el("option", { value: "" }, every),
      ...values.map((value) => Array.isArray(value) ? el("option", { value: value[0] }, value[1]) : el("option", { value }, value)));
  }

  function offerAll() {
    const depths = [...new Set(data.lists.map((one) => one[2]))].sort((a, b) => a - b);
    const there = new Set(zeros());
    offer("stage", lines.stages);
    offer("depth", depths.map(String));
    offer("state", [...new Set(data.states.flatMap((text) => text.split(" ")))].filter(Boolean).sort());
    offer("zero", ZERO.filter((_, place) => there.has(place)));
    offer("licence", [["(open)", "any open licence"], ...data.licences.filter(Boolean)]);
    offer("owner", lines.owners.map((name) => [name, `${name} (${lines.held.get(name).size})`]));
    boxes("tasks-chosen", data.tasks.map(([name], place) => [String(place), name]), chooseTasks);
    boxes("columns-chosen", [...data.columns.filter(([key]) => key !== "name").map(([key, label]) => [key, label]), ["tasks", "Tasks"]], chooseColumns);
    document.getElementById("choose-tasks").hidden = data.tasks.length < 2;
    presets();
  }

  function boxes(id, offered, listen) {
    const place = document.getElementById(id);
    if (!place) { return; }
    place.append(...offered.map(([value, label]) => el("label", { class: "check" }, el("input", { type: "checkbox", value }), label)));
    place.addEventListener("change", (event) => {
      event.stopPropagation();
      change();
      listen([...place.querySelectorAll("input")].filter((box) => box.checked).map((box) => box.value));
      go(false);
    });
  }

  function chooseTasks(values) {
    state.tasks = values.length && values.length < data.tasks.length ? values.map(Number) : null;
    state.page = 1;
  }

  function chooseColumns(values) { state.cols = ["name", ...values]; }

  function presets() {
    const hasList = (stage, depth) => data.lists.some((one) => one[1] === stage && one[2] === depth);
    const links = [
      ["Best under 500 M parameters, zero-shot, open licence", "zero=yes&licence=(open)&to=500&whole=1"],
      ["Reproduced only", "state=reproduced"],
      ...hasList("bm25", 100) ? [["BM25, first 100", "stage=bm25&depth=100"]] : [],
      ["Complete lines only", "whole=1"],
      ...HEAT ? [] : [["Cheapest first", "sort=flops"]]
    ];
    document.getElementById("presets").replaceChildren(...links.map(([label, hash]) =>
      el("li", {}, el("a", { href: address(parsed(hash)) }, label))));
  }

  function offerBases() {
    if (!form.elements.base) { return; }
    const near = [...lines.starts.values(), ...Array.from({ length: Math.min(50, lines.count) }, (_, i) => i), lineOf(state.base)];
    const named = (i) => [lines.id(i), `${data.names[data.who[i]]} over ${data.lists[data.list[i]][0]}`];
    offer("base", [...new Set(near)].filter((i) => i >= 0).map(named), "each line\u2019s first stage");
  }

  function fill() {
    offerBases();
    FIELDS.forEach((name) => {
      const field = form.elements[name];
      if (!field) { return; }
      if (field.type === "checkbox") { field.checked = Boolean(state[name]); }
      else if (field.value !== state[name] && !(typing && name === "q")) { field.value = state[name]; }
    });
    const tick = (id, isOn) => document.querySelectorAll(`#${id} input`).forEach((box) => { box.checked = isOn(box.value); });
    tick("tasks-chosen", (value) => !state.tasks || state.tasks.includes(Number(value)));
    tick("columns-chosen", (value) => state.cols ? state.cols.includes(value)
      : value === "tasks" ? Boolean(data.showTasks || state.tasks) : columns.some((column) => column.key === value && column.shown));
    if (["zero", "licence", "owner", "from", "to"].some((name) => state[name])) { document.getElementById("more").open = true; }
    if (state.tasks) { document.getElementById("choose-tasks").open = true; }
  }

  function change() { // takes what the form says now, words still being typed included
    clearTimeout(typing);
    typing = 0;
    FIELDS.forEach((name) => {
      const field = form.elements[name];
      if (field) { state[name] = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value; }
    });
  }

  function listen() {
    form.hidden = false;
    document.getElementById("only")?.remove(); // all lines are here now, page by page
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => {
      if (event.target.name && event.target.name !== "q") { change(); state.page = 1; go(false); }
    });
    form.elements.q.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => { change(); state.page = 1; go(true); }, 120);
    });
    document.getElementById("reset").addEventListener("click", (event) => {
      event.preventDefault();
      clearTimeout(typing);
      typing = 0;
      state = blank();
      go(false);
      show();
      form.elements.q.focus();
    });
    document.getElementById("permalink").addEventListener("click", (event) => {
      if (!navigator.clipboard) { return; } // the address bar has it either way
      navigator.clipboard.writeText(event.target.href).then(() => { status.textContent += ", address copied"; }, () => {});
    });
    window.addEventListener("hashchange", () => { if (read()) { show(); } });
  }

  exabench.overview = (given) => {
    data = { ...given, mean: summed(given.mean), group: summed(given.group) };
    lines = prepare(data);
    columns = makeColumns();
    state = blank();
    listen();
    offerAll();
    if (!read()) { state = blank(); }
    show();
  };

  exabench.scores = (given) => {
    scores = given.values;
    nudges = given.nudges;
    derived = null;
    show();
  };
})();
