/* Many lines of one ranking against each other. State is in the address: #of=view.all-tasks&lines=KEY,KEY */
(() => {
  "use strict";

  const exabench = window.exabench, board = exabench?.board();
  const form = document.getElementById("significance"), out = document.getElementById("matrix");
  if (!board || !form || !out) { return; }

  const { el, say, load, table, paired: t } = exabench;
  const status = document.getElementById("status"), MOST = 50, FIRST = 10;
  const UNLIKE = "measured on other queries, by other judgements or by another convention.";
  const whole = new Map(board.tasks.map(({ name, members }) => [name, members.length ? members : [name]]));
  /* Every ranking and every task: {key, title, tasks: a list of members for each}. */
  const rankings = [
    ...board.rankings.map(({ key, title, tasks }) => ({ key, title, tasks: tasks.map((name) => whole.get(name)) })),
    ...board.singles.map((name) => ({ key: `task.${name}`, title: `task ${name}`, tasks: [[name]] }))
  ];
  let state = { of: "", lines: "" }, rows = [], chosen = [], lost = "", turn = 0;

  const more = exabench.picker(form.elements.more, document.getElementById("more-list"), (row) => {
    more.show(null);
    if (chosen.length < MOST) { go([...chosen, row]); }
    else { status.textContent = `At most ${MOST} lines are tested at once: leave one out first.`; }
  });

  /* -- choosing ------------------------------------------------------------------------------------------------ */

  function go(lines, of = state.of) {
    const first = rows.slice(0, FIRST), same = lines.length === first.length && lines.every((row) => first.includes(row));
    location.hash = exabench.hashOf({ of, lines: same ? "" : lines.map(({ key }) => key).join() });
  }

  async function start() {
    const mine = turn += 1, of = rankings.find(({ key }) => key === state.of) || rankings[0];
    form.elements.of.value = of.key;
    status.textContent = "Loading the lines \u2026";
    out.textContent = "";
    try {
      const groups = await load(`data/groups/${of.key}.js`);
      if (mine !== turn) { return; }
      choose(groups.rows.map(row));
      if (chosen.length > 1) {
        status.textContent = `Loading the values of ${chosen.length} lines \u2026`;
        await Promise.all(chosen.map((one) => values(one, of)));
        if (mine === turn) { show(of); }
      } else {
        status.textContent = (chosen.length ? "One line alone: there is no pair to test." : "No line has a result on every task here.") + lost;
      }
    } catch (error) { if (mine === turn) { status.textContent = `A file could not be loaded: ${error.message}`; } }
  }

  function choose(given) {
    rows = given;
    const wanted = state.lines ? state.lines.split(",") : null;
    chosen = wanted ? rows.filter(({ key }) => wanted.includes(key)) : rows.slice(0, FIRST);
    const strange = (wanted || []).filter((key) => !rows.some((one) => one.key === key));
    lost = strange.length ? ` Not in this ranking, or without a result on each of its tasks: ${strange.join(", ")}.` : "";
    lost += chosen.length > MOST ? ` Only the first ${MOST} of ${chosen.length} lines are tested.` : "";
    chosen = chosen.slice(0, MOST);
    more.lines(rows.filter((one) => !chosen.includes(one)));
    const sizes = [5, 10, 20, 50].filter((n) => n < rows.length);
    if (rows.length <= MOST) { sizes.push(rows.length); }
    const now = sizes.find((n) => n === chosen.length && rows[n - 1] === chosen[n - 1]);
    form.elements.best.replaceChildren(...now === undefined ? [el("option", { value: "" }, `${chosen.length} chosen`)] : [],
      ...sizes.map((n) => el("option", { value: n }, n === rows.length ? `all ${n}` : `the best ${n}`)));
    form.elements.best.value = now === undefined ? "" : String(now);
    form.elements.best.disabled = !sizes.length;
  }

  function row([slug, candidates, mean, group]) {
    const key = `${slug}.${candidates}`, label = board.byKey.get(key)?.label || `${slug} over ${candidates}`;
    return { key, slug, candidates, mean, group, label, text: label.toLowerCase() };
  }

  /* -- testing ---------------------------------------------------------------------------------------------------- */

  /* Adds to a line its values on each task of the ranking, and what they were measured on. */
  async function values(one, { tasks }) {
    const vectors = await Promise.all(tasks.map((members) =>
      Promise.all(members.map((task) => load(`data/queries/${one.slug}/${task}.${one.candidates}.js`)))));
    one.values = vectors.map((parts) => t.joined(parts.map((part) => part.values)));
    one.on = vectors.flat().map(({ metric, qrels, convention, queries }) => [metric, qrels, convention, queries].join()).join();
  }

  function test() {
    const pairs = chosen.flatMap((a, i) => chosen.slice(i + 1).map((b, j) => ({ i, j: i + 1 + j, a, b })));
    const fit = pairs.filter(({ a, b }) => a.on === b.on);
    fit.forEach((pair) => { pair.test = t.pairedTest(pair.a.values, pair.b.values); });
    const lists = fit.map(({ a, b }) => [a.candidates, b.candidates].sort().join());
    const corrected = t.holm(fit.map((pair) => pair.test.p), lists);
    fit.forEach((pair, i) => { pair.p = corrected[i]; });
    exabench.matrix = pairs;
    return pairs;
  }

  /* -- showing ------------------------------------------------------------------------------------------------------ */

  function show(of) {
    const pairs = test(), told = pairs.filter(({ p }) => p < t.ALPHA).length;
    status.textContent = `${chosen.length} of ${say.count(rows.length)} lines: ${say.count(told)} of ${say.count(pairs.length)} pairs `
      + `differ significantly (paired t-test, Holm, 0.05).${lost}`;
    const byPlace = new Map(pairs.map((pair) => [`${pair.i} ${pair.j}`, pair]));
    const heads = [["Line"], ...chosen.map((one, i) => [el("abbr", { title: one.label }, String(i + 1)), 1]), ["Group", 1], ["Leave out"]];
    const body = chosen.map((one, i) => {
      const drop = el("button", { type: "button", class: "drop", "aria-label": `Leave out ${one.label}` }, "\u00d7");
      drop.addEventListener("click", () => go(chosen.filter((other) => other !== one)));
      const line = [`${i + 1}. `, el("bdi", {}, one.label), " ", el("span", { class: "between" }, say.score(one.mean))];
      return [line, ...chosen.map((_, j) => cell(byPlace, i, j)), String(one.group), drop];
    });
    const caption = `${of.title}: the line at the left less the line above, in points, and p with Holm\u2019s correction over the pairs of the `
      + "same candidates. \u25B2 significantly better, \u25BC significantly worse, \u25CB cannot be told apart. The group is that of the whole "
      + `ranking.${pairs.every((pair) => pair.test) ? "" : ` No test: ${UNLIKE}`}`;
    out.replaceChildren(table("cap-matrix", caption, heads, body, "matrix"));
  }

  function cell(pairs, i, j) {
    if (i === j) { return el("td", { class: "self" }, "\u2013"); }
    const pair = pairs.get(`${Math.min(i, j)} ${Math.max(i, j)}`);
    if (!pair.test) { return el("td", {}, "no test"); }
    const difference = (i < j ? 1 : -1) * pair.test.difference, known = pair.p < t.ALPHA, better = difference > 0;
    const shape = known ? (better ? "\u25B2" : "\u25BC") : "\u25CB";
    return el("td", { class: known ? (better ? "better" : "worse") : null }, el("span", { "aria-hidden": "true" }, `${shape} `),
      say.signed(difference), el("span", { class: "between" }, `p ${say.p(pair.p).replace("< ", "<\u00a0")}`));
  }

  /* -- start ---------------------------------------------------------------------------------------------------------- */

  function read() {
    const given = exabench.address();
    if (!given) { return; }
    state = { of: given.get("of") || "", lines: given.get("lines") || "" };
    start();
  }

  form.elements.of.append(...rankings.map(({ key, title }) => el("option", { value: key }, title)));
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    if (target.name === "of") { location.hash = exabench.hashOf({ of: target.value }); }
    if (target.name === "best" && target.value) { go(rows.slice(0, Number(target.value))); }
  });
  window.addEventListener("hashchange", read);
  read();
})();
