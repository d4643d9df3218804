/* Compare two systems of the board query by query. All state is in the address: #a=LINE&b=LINE&task=TASK.CANDIDATES */
(() => {
  "use strict";

  const exabench = window.exabench, board = exabench?.board();
  const form = document.getElementById("compare"), out = document.getElementById("compared");
  if (!board || !form || !out) { return; }

  const { el, say, table, figure, words, path, dot, load, paired: t } = exabench;
  const status = document.getElementById("status"), EXTREMES = 10, LISTED = 2000;
  let state = { a: "", b: "", task: "" }, turn = 0, done = null;

  const go = (given) => { location.hash = exabench.hashOf(given); };
  const fields = {};
  for (const side of ["a", "b"]) {
    fields[side] = exabench.picker(form.elements[side], document.getElementById(`${side}-list`),
      (line) => go({ a: state.a, b: state.b, [side]: line.key }));
    fields[side].lines(board.lines);
  }

  /* -- what can be compared ----------------------------------------------------------------------------------- */

  /* The tasks that both lines have, over one candidate list, and those of which one cannot say who is better. */
  function paired(a, b) {
    const found = [], refused = [], tasks = new Set([...a.lists, ...b.lists].map(([task]) => task));
    for (const task of board.singles.filter((name) => tasks.has(name))) {
      const mine = over(a, task), others = over(b, task), both = mine.filter((name) => others.includes(name));
      both.forEach((candidates) => found.push({ task, candidates }));
      if (!both.length) { refused.push({ task, why: lacking(mine, others) }); }
    }
    return { found, refused };
  }

  const over = (line, task) => line.lists.filter(([name]) => name === task).map(([, candidates]) => candidates);

  function lacking(mine, others) {
    if (!mine.length) { return "A has no result"; }
    if (!others.length) { return "B has no result"; }
    return `other candidates: A reranked ${mine.join(", ")}, B ${others.join(", ")}`;
  }

  /* Why two vectors cannot be compared, or nothing. */
  function unlike(a, b) {
    const parts = [["metric", `another metric: A has ${a.metric}, B ${b.metric}`],
      ["candidates", "two lists of one name: A and B reranked other candidates"], ["qrels", "other judgements"],
      ["convention", "another convention (gain, relevance or self-matches)"], ["queries", "other queries"]];
    const found = parts.find(([name]) => a[name] !== b[name]);
    if (found) { return found[1]; }
    const [side, short] = a.missing ? ["A", a] : ["B", b];
    return short.missing && `${side} lacks ${say.count(short.missing)} of ${say.count(short.values.length)} queries`;
  }

  async function loaded(one, a, b) {
    try {
      const [own, other] = await Promise.all([a, b].map(({ slug }) => load(`data/queries/${slug}/${one.task}.${one.candidates}.js`)));
      return { ...one, why: unlike(own, other), a: own.values, b: other.values, metric: own.metric, limit: await limit(one, a, b) };
    } catch (error) { return { ...one, why: `the values could not be loaded: ${error.message}` }; }
  }

  /* The p under which A and B differ significantly on a task: that of the better one in the contest there, against every
     system below it; null where one of them is not ranked, or both are samples of one system. */
  async function limit({ task, candidates }, a, b) {
    const key = `task.${task}.${candidates}`;
    if (!board.contests.some((one) => one.key === key)) { return null; }
    const { rows } = await load(`data/groups/${key}.js`);
    const [first, second] = [a, b].map(({ slug }) => rows.findIndex(([slugs]) => slugs.includes(slug)));
    return first < 0 || second < 0 || first === second ? null : rows[Math.min(first, second)][5];
  }

  /* -- computing it ------------------------------------------------------------------------------------------- */

  async function start() {
    const a = board.byKey.get(state.a), b = board.byKey.get(state.b), mine = turn += 1, key = `${state.a} ${state.b}`;
    fields.a.show(a);
    fields.b.show(b);
    if (done?.key === key) { show(); return; }
    done = null;
    out.textContent = "";
    if (!a || !b || a === b) {
      status.textContent = a && a === b ? "A and B are the same system: choose another." : unknown(a, b);
      return;
    }
    const pairs = paired(a, b);
    status.textContent = `Comparing on ${say.counted(pairs.found.length, "task")} \u2026`;
    const all = await Promise.all(pairs.found.map((one) => loaded(one, a, b)));
    if (mine !== turn) { return; }
    const rows = all.filter((one) => !one.why);
    rows.forEach((one) => { one.test = t.pairedTest([one.a], [one.b]); });
    rows.forEach((one) => { one.differ = one.limit !== null && one.test.p < one.limit; });
    done = { key, a, b, rows, means: means(rows), refused: [...all.filter((one) => one.why), ...pairs.refused] };
    exabench.compared = done;
    show();
  }

  function unknown(a, b) {
    if (board.lines.length < 2) { return "This board has fewer than two systems: there is nothing to compare yet."; }
    const lost = [!a && state.a, !b && state.b].filter(Boolean);
    return lost.length ? `Not on this board: ${lost.join(", ")}.` : "Choose two systems.";
  }

  /* The mean over the board's tasks for each candidate list, every task of the same weight (CQADupStack is one). */
  function means(rows) {
    const found = [];
    for (const candidates of [...new Set(rows.map((one) => one.candidates))].sort()) {
      const whole = board.tasks.map(({ name, members }) => (members.length ? members : [name])
        .map((member) => rows.find((one) => one.task === member && one.candidates === candidates)))
        .filter((parts) => parts.every(Boolean));
      if (whole.length > 1) {
        const [a, b] = ["a", "b"].map((side) => whole.map((parts) => t.joined(parts.map((one) => one[side]))));
        found.push({ candidates, tasks: whole.length, a: t.mean(a.map(t.mean)), b: t.mean(b.map(t.mean)), test: t.pairedTest(a, b) });
      }
    }
    return found;
  }

  /* -- showing it ----------------------------------------------------------------------------------------------- */

  function verdict(one) {
    if (one.limit === null) { return "not ranked"; }
    if (!one.differ) { return "not significantly different"; }
    return one.test.difference > 0 ? "A is better" : "B is better";
  }

  function show() {
    const { rows } = done, [a, b] = ["A", "B"].map((side) => rows.filter((one) => verdict(one) === `${side} is better`).length);
    const lists = new Set(rows.map((one) => one.candidates)).size;
    status.textContent = rows.length ? `Compared on ${say.counted(rows.length, "task", lists > 1 && "tasks and lists")}: A is better on ${a}, `
      + `B on ${b}, not significantly different on ${rows.length - a - b}.` : "A and B cannot be compared on any task.";
    out.replaceChildren(...rows.length ? [el("h2", { id: "tasks" }, "Task by task"), el("p", {}, who("a"), ", ", who("b"), ".", ofSamples(), el("span", { id: "apart" })), overview(rows), forest(rows)] : [],
      ...done.refused.length ? [refused(done.refused)] : []);
    const chosen = rows.find((one) => `${one.task}.${one.candidates}` === state.task) || rows[0];
    if (chosen) { details(chosen); }
  }

  const who = (side) => [el("b", {}, side.toUpperCase()), " is ", el("bdi", {}, done[side].label), samples(side)];

  /* Of a system with several samples one is compared: which one, and links to the others. */
  function samples(side) {
    const { key, slug } = done[side], all = board.samples.find((slugs) => slugs.includes(slug)) || [];
    const others = all.map((other, i) => [i + 1, other + key.slice(slug.length)]).filter(([, other]) => other !== key && board.byKey.has(other));
    if (!others.length) { return ""; }
    return [` (sample ${all.indexOf(slug) + 1} of ${all.length}; compare sample `, others.map(([number, other], i) =>
      [i ? ", " : "", el("a", { href: exabench.hashOf({ ...state, [side]: other }) }, String(number))]), ")"];
  }

  /* A system of several samples is ranked by all of them: one alone may lead to another verdict. */
  function ofSamples() {
    if (!["a", "b"].some((side) => samples(side))) { return ""; }
    return [" Groups and ranks are of all samples together: see ", el("a", { href: "significance.html" }, "many systems"), "."];
  }

  const name = (one) => `${one.task} over ${one.candidates}`;

  const link = (one) => el("a", { href: exabench.hashOf({ ...state, task: `${one.task}.${one.candidates}` }) }, one.task);

  function numbers({ a, b, test, limit = null }, said) {
    const none = "\u2013", between = test.queries > 1 ? test.interval.map(say.signed).join(" to ") : "no interval: one query";
    return [say.score(a), say.score(b), [el("b", {}, say.signed(test.difference)), " ", el("span", { class: "between" }, between)], said || none, say.p(test.p),
    limit === null ? none : String(Number(limit.toPrecision(2))), say.effect(test.effect_size),
    [test.wins, test.ties, test.losses].map(say.count).join(" / ")];
  }

  function overview(rows) {
    const heads = [["Task"], ["Candidates"], ["Metric"], ["Queries", 1], ["A", 1], ["B", 1], ["A \u2212 B", 1],
      ["Verdict"], ["p", 1], ["Significant below p", 1], ["Effect size", 1], ["A wins / ties / loses", 1]];
    const body = rows.map((one) => [link(one), one.candidates, one.metric, say.count(one.a.length),
      ...numbers({ ...one, a: t.mean(one.a), b: t.mean(one.b) }, verdict(one))]);
    done.means.forEach((one) => body.push([`Mean over ${one.tasks} tasks`, one.candidates, "", say.count(one.test.queries), ...numbers(one)]));
    return table("cap-tasks", "Student\u2019s paired t-test of A \u2212 B, two-sided, with its 95% interval. The difference is significant where p is below the "
      + "limit next to it: that of Holm\u2019s correction over the better system\u2019s tests against every system below it over the same candidate list. "
      + "Not significantly different does not mean equal. A task\u2019s name shows its queries below.", heads, body, "told");
  }

  const refused = (rows) => el("div", {}, el("h2", { id: "refused" }, "Not compared"),
    table("cap-refused", "Tasks without a comparison, and why: a number would be missing, or compare two different things.",
      [["Task"], ["Why"]], rows.map((one) => [one.candidates ? name(one) : one.task, one.why])));

  /* -- figures -------------------------------------------------------------------------------------------------- */

  /* Ticks around 0 at a round step, at most five to a side, as far as the largest value reaches. */
  function scale(largest) {
    const step = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2].find((one) => largest / one <= 5) || 0.2;
    const steps = Math.max(1, Math.ceil(largest / step - 1e-9));
    return { end: steps * step, ticks: Array.from({ length: 2 * steps + 1 }, (_, i) => (i - steps) * step) };
  }

  const line = (tick, d) => path(Math.abs(tick) < 1e-9 ? "axis" : "grid", d);
  const said = (tick) => say.signed(tick).replace(".0", "");

  function forest(rows) {
    const { end, ticks } = scale(Math.min(1, Math.max(...rows.flatMap(({ test }) => test.interval.map(Math.abs)))));
    const left = 210, wide = 480, high = 26, top = 26, bottom = top + high * rows.length;
    const x = (value) => left + wide * (Math.max(-1, Math.min(1, value / end)) + 1) / 2;
    const parts = ticks.flatMap((tick) => [line(tick, `M${x(tick).toFixed(1)} ${top - 8}V${bottom}`),
      words(x(tick), bottom + 18, said(tick), "num mid")]);
    parts.push(words(left, 12, "B is better", "small"), words(left + wide, 12, "A is better", "small end"));
    rows.forEach((one, i) => {
      const y = top + high * i + 12, [from, to] = one.test.interval;
      parts.push(words(left - 12, y + 4, done.means.length > 1 ? name(one) : one.task, "lab end", 28),
        path("interval", `M${x(from).toFixed(1)} ${y}H${x(to).toFixed(1)}`),
        dot(one.differ ? "own" : "hollow", x(one.test.difference), y, 5));
    });
    return figure("forest", left + wide + 40, bottom + 30, "Difference on every task", "A \u2212 B in points, with 95% t intervals. "
      + "Filled points are significant. The numbers are in the table above.", parts);
  }

  function bars(one, order) {
    const n = order.length, left = 48, wide = 720, middle = 108, tall = 88;
    const drawn = order.map((i) => t.differenceOf(one.a[i], one.b[i]));
    const each = wide / drawn.length, gap = Math.min(1, each / 5), shapes = { gain: "", loss: "" };
    const { end, ticks } = scale(Math.max(Math.abs(drawn[0]), Math.abs(drawn.at(-1))));
    const parts = ticks.flatMap((tick) => {
      const y = middle - tall * tick / end;
      return [line(tick, `M${left} ${y.toFixed(1)}H${left + wide}`), words(left - 8, y + 4, said(tick), "num end")];
    });
    drawn.forEach((value, i) => {
      if (value) {
        shapes[value > 0 ? "gain" : "loss"] += `M${(left + i * each).toFixed(2)} ${middle}v${(-tall * value / end).toFixed(2)}`
          + `h${(each - gap).toFixed(2)}V${middle}z`;
      }
    });
    parts.push(path("gain", shapes.gain), path("loss", shapes.loss));
    const { wins, ties, losses } = one.test;
    return figure("wins", left + wide + 10, 2 * middle, "Wins and losses, query by query", `${say.counted(n, "query", "queries")}`
      + `, largest win of A left: A wins ${say.count(wins)}, ${say.count(ties)} ties, B wins ${say.count(losses)}. `
      + "Bars above the line are wins of A, below it wins of B, in points.", parts);
  }

  function scatter(one) {
    const left = 44, size = 320, top = 26, seen = new Map(), parts = [];
    for (let tick = 0; tick <= 4; tick += 1) {
      const place = size * tick / 4, label = String(25 * tick);
      parts.push(path("grid", `M${left} ${top + place}h${size}M${left + place} ${top}v${size}`),
        words(left - 8, top + size - place + 4, label, "num end"), words(left + place, top + size + 18, label, "num mid"));
    }
    parts.push(path("axis", `M${left} ${top + size}l${size} ${-size}`));
    one.a.forEach((value, i) => {
      const key = `${value.toFixed(2)} ${one.b[i].toFixed(2)}`;
      seen.set(key, (seen.get(key) || 0) + 1);
    });
    for (const [key, count] of seen) {
      const [a, b] = key.split(" ").map(Number);
      parts.push(dot("spot", left + size * a, top + size - size * b, Math.min(12, 2.2 + Math.sqrt(count)).toFixed(1)));
    }
    parts.push(words(left + size / 2, top + size + 36, `${one.metric} of A \u00d7 100`, "small mid"),
      words(left, top - 12, `${one.metric} of B \u00d7 100 upwards`, "small"));
    return figure("scatter", left + size + 16, top + size + 46, "A and B on every query", "A to the right, B upwards: A wins below the "
      + "line, B above it. A larger spot is more queries at one place. The values are in the tables below.", parts);
  }

  /* -- one task, query by query ------------------------------------------------------------------------------------ */

  async function details(one) {
    const difference = (i) => t.differenceOf(one.a[i], one.b[i]);
    const order = one.a.map((_, i) => i).sort((i, j) => difference(j) - difference(i) || i - j);
    const box = el("section", { "aria-labelledby": "queries" }, el("h2", { id: "queries" }, `${name(one)}, query by query`),
      bars(one, order), scatter(one));
    out.append(box);
    box.setAttribute("aria-busy", "true"); // the texts of the queries are still to come
    const list = await load(`data/queries/${one.task}.${one.candidates}.js`).catch(() => null);
    if (!box.isConnected) { return; }
    document.getElementById("apart").replaceChildren(...farthest(one, list, order));
    const rows = (key, caption, places) => queries(one, list, key, caption, places);
    box.append(el("div", { class: "pair" },
      rows("cap-wins", "The largest wins of A.", order.filter((i) => difference(i) > 0).slice(0, EXTREMES)),
      rows("cap-losses", "The largest wins of B.", order.filter((i) => difference(i) < 0).reverse().slice(0, EXTREMES))));
    const all = el("details", {}, el("summary", {}, "All queries, largest win of A first"));
    all.addEventListener("toggle", () => {
      const rest = order.length > LISTED ? ` The first ${LISTED} of ${say.count(order.length)}.` : "";
      all.append(rows("cap-all", `Every query and its two values.${rest}`, order.slice(0, LISTED)));
    }, { once: true });
    box.append(all);
    box.removeAttribute("aria-busy");
  }

  /* The query on which A and B differ most, in words: either the largest win of A or that of B. */
  function farthest(one, list, order) {
    const difference = (i) => t.differenceOf(one.a[i], one.b[i]), [first, last] = [order[0], order.at(-1)];
    const most = Math.abs(difference(first)) < Math.abs(difference(last)) ? last : first;
    if (!list || !difference(most)) { return []; }
    return [` On ${one.task} they differ most on query `, el("bdi", { class: "id" }, list.ids[most]),
      list.words ? [" (", el("bdi", {}, list.words[most]), ")"] : "", `: A ${say.score(one.a[most])}, B ${say.score(one.b[most])}.`];
  }

  function queries(one, list, key, caption, places) {
    const ids = list?.ids;
    if (!places.length) { return el("p", { class: "soft" }, caption.replace(/^The largest wins of (.)\.$/, "$1 wins no query.")); }
    return table(key, caption, [["Query"], ["A", 1], ["B", 1], ["A \u2212 B", 1], ["Rankings"]], places.map((i) => {
      const id = ids ? ids[i] : `number ${i + 1}`;
      return [[el("bdi", { class: "id" }, id), list?.words ? [" ", el("bdi", { class: "words" }, list.words[i])] : ""], say.score(one.a[i]), say.score(one.b[i]), say.signed(t.differenceOf(one.a[i], one.b[i])),
        [ranking("A", done.a, one, ids && id), " \u00b7 ", ranking("B", done.b, one, ids && id)]];
    }));
  }

  const ranking = (side, { slug }, one, id) => el("a", {
    href: `results/${slug}/${one.task}.${one.candidates}.html${id ? `#query=${encodeURIComponent(id)}` : ""}`
  }, `of ${side}`);

  /* -- start --------------------------------------------------------------------------------------------------------- */

  function read() {
    const given = exabench.address();
    if (!given) { return; }
    state = Object.fromEntries(["a", "b", "task"].map((key) => [key, given.get(key) || ""]));
    start();
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("swap").addEventListener("click", () => go({ a: state.b, b: state.a, task: state.task }));
  window.addEventListener("hashchange", read);
  read();
})();
