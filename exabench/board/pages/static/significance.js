/* Many systems of one contest against each other. State is in the address: #of=view.all-tasks.bm25-100&lines=KEY,KEY */
(() => {
  "use strict";

  const exabench = window.exabench, board = exabench?.board();
  const form = document.getElementById("significance"), out = document.getElementById("matrix");
  if (!board || !form || !out) { return; }

  const { el, say, load, table, paired: t } = exabench;
  const status = document.getElementById("status"), MOST = 50, FIRST = 10;
  const UNLIKE = "measured on other queries, by other judgements or by another convention, or beyond the first 1,000 systems.";
  const whole = new Map(board.tasks.map(({ name, members }) => [name, members.length ? members : [name]]));
  /* Every contest: {key, title, tasks: a list of members for each}. */
  const all = board.contests.map(({ key, title, tasks, as }) =>
    ({ key, title, as, tasks: tasks.map((name) => whole.get(name) || [name]) }));
  const contests = all.filter(({ as }) => !as), asked = (key) => all.find((one) => one.key === key)?.as || key;
  let state = { of: "", lines: "" }, rows = [], chosen = [], lost = "", turn = 0;

  const more = exabench.picker(form.elements.more, document.getElementById("more-list"), (row) => {
    more.show(null);
    if (chosen.length < MOST) { go([...chosen, row]); }
    else { status.textContent = `At most ${MOST} systems are tested at once: leave one out first.`; }
  });

  /* -- choosing ------------------------------------------------------------------------------------------------ */

  function go(lines, of = state.of) {
    const first = rows.slice(0, FIRST), same = lines.length === first.length && lines.every((row) => first.includes(row));
    location.hash = exabench.hashOf({ of, lines: same ? "" : lines.map(({ key }) => key).join() });
  }

  async function start() {
    const mine = turn += 1, of = contests.find(({ key }) => key === asked(state.of))
      || contests.find(({ key }) => key.startsWith(`${state.of}.`)) || contests[0]; // a view without a list is its first one
    form.elements.of.value = of.key;
    status.textContent = "Loading the systems \u2026";
    out.textContent = "";
    try {
      const groups = await load(`data/groups/${of.key}.js`);
      if (mine !== turn) { return; }
      const isOne = groups.rows.every(([, candidates]) => candidates === groups.rows[0][1]);
      choose(groups.rows.map((given) => row(given, isOne)));
      if (chosen.length > 1) {
        status.textContent = `Loading the values of ${chosen.length} systems \u2026`;
        await Promise.all(chosen.map((one) => values(one, of)));
        if (mine === turn) { show(of); }
      } else {
        status.textContent = (chosen.length ? "Only one system: there is no pair to test." : "No system has a result on every task here.") + lost;
      }
    } catch (error) { if (mine === turn) { status.textContent = `A file could not be loaded: ${error.message}`; } }
  }

  function choose(given) {
    rows = given;
    const wanted = state.lines ? state.lines.split(",") : null;
    chosen = wanted ? rows.filter(({ key }) => wanted.includes(key)) : rows.slice(0, FIRST);
    const strange = (wanted || []).filter((key) => !rows.some((one) => one.key === key));
    lost = strange.length ? ` Not in this contest, or without a result on each of its tasks: ${strange.join(", ")}.` : "";
    lost += chosen.length > MOST ? ` Only the first ${MOST} of ${chosen.length} systems are tested.` : "";
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

  /* `isOne`: the contest, and so its title, is over one list. */
  function row([slugs, candidates, name, mean, group, limit, more], isOne) {
    const label = isOne || name.startsWith("first stage") ? name : `${name} over ${candidates}`;
    return { key: `${slugs[0]}.${candidates}`, slugs, candidates, mean, group, limit, more, label, text: label.toLowerCase() };
  }

  /* -- testing ---------------------------------------------------------------------------------------------------- */

  /* Adds to a system its values on each task of the contest (means over its samples), and what they were measured on. */
  async function values(one, { tasks }) {
    const of = (slug, task) => load(`data/queries/${slug}/${task}.${one.candidates}.js`);
    const vectors = await Promise.all(tasks.map((members) =>
      Promise.all(members.map((task) => Promise.all(one.slugs.map((slug) => of(slug, task)))))));
    const middle = (samples) => samples[0].values.map((_, i) => t.mean(samples.map((sample) => sample.values[i])));
    one.values = vectors.map((parts) => t.joined(parts.map(middle)));
    const measured = vectors.flat(2).map(({ metric, qrels, convention, queries }) => [metric, qrels, convention, queries].join());
    one.on = [...new Set(measured)].join(); // once for all samples of a task
  }

  /* Pairs in the order of the contest, so that the better system comes first: it says from which p on they differ. */
  function test() {
    const pairs = chosen.flatMap((a, i) => chosen.slice(i + 1).map((b, j) => ({ i, j: i + 1 + j, a, b })));
    for (const pair of pairs) {
      if (pair.a.on === pair.b.on && pair.a.limit !== null) {
        pair.test = t.pairedTest(pair.a.values, pair.b.values);
        pair.differ = pair.test.p < pair.a.limit;
      }
    }
    exabench.matrix = pairs;
    return pairs;
  }

  /* -- showing ------------------------------------------------------------------------------------------------------ */

  function show(of) {
    const pairs = test(), told = pairs.filter(({ differ }) => differ).length;
    status.textContent = `${chosen.length} of ${say.count(rows.length)} systems: ${say.count(told)} of ${say.count(pairs.length)} pairs `
      + `are significantly different.${lost}`;
    const byPlace = new Map(pairs.map((pair) => [`${pair.i} ${pair.j}`, pair]));
    const heads = [["System"], ["Group", 1], ...chosen.map((one, i) => [el("abbr", { title: one.label }, String(i + 1)), 1]),
      ["Significant below p", 1], [el("abbr", { title: "about how many more queries would separate it from the next system of its group" }, "More queries"), 1], ["Leave out"]];
    const body = chosen.map((one, i) => {
      const drop = el("button", { type: "button", class: "drop", "aria-label": `Leave out ${one.label}` }, "\u00d7");
      drop.addEventListener("click", () => go(chosen.filter((other) => other !== one)));
      const line = [`${i + 1}. `, el("bdi", {}, one.label), " ", el("span", { class: "between" }, say.score(one.mean))];
      const next = rows[rows.indexOf(one) + 1] === chosen[i + 1] ? one.more : "";
      return [line, String(one.group), ...chosen.map((_, j) => cell(byPlace, i, j)), limit(one), next || "\u2013", drop];
    });
    const caption = `${of.title}: the system at the left minus the one above, in points, with p of Student\u2019s paired t-test. \u25B2 significantly `
      + "better, \u25BC significantly worse, \u25CB not significantly different: p is compared with the limit of the better system, from Holm\u2019s "
      + "correction over its tests against every system below it. Members of a group are not significantly different from its first."
      + (pairs.every((pair) => pair.test) ? "" : ` No test: ${UNLIKE}`);
    out.replaceChildren(table("cap-matrix", caption, heads, body, "matrix"));
  }

  const limit = (one) => one.limit === null || one === rows.at(-1) ? "\u2013" : String(Number(one.limit.toPrecision(2)));

  function cell(pairs, i, j) {
    if (i === j) { return el("td", { class: "self" }, "\u2013"); }
    const pair = pairs.get(`${Math.min(i, j)} ${Math.max(i, j)}`);
    if (!pair.test) { return el("td", {}, "no test"); }
    const difference = (i < j ? 1 : -1) * pair.test.difference, better = difference > 0;
    const shape = pair.differ ? (better ? "\u25B2" : "\u25BC") : "\u25CB";
    return el("td", { class: pair.differ ? (better ? "better" : "worse") : null }, el("span", { "aria-hidden": "true" }, `${shape} `),
      say.signed(difference), el("span", { class: "between" }, `p ${say.p(pair.test.p).replace("< ", "<\u00a0")}`));
  }

  /* -- start ---------------------------------------------------------------------------------------------------------- */

  function read() {
    const given = exabench.address();
    if (!given) { return; }
    state = { of: given.get("of") || "", lines: given.get("lines") || "" };
    start();
  }

  form.elements.of.append(...contests.map(({ key, title }) => el("option", { value: key }, title)));
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    if (target.name === "of") { location.hash = exabench.hashOf({ of: target.value }); }
    if (target.name === "best" && target.value) { go(rows.slice(0, Number(target.value))); }
  });
  window.addEventListener("hashchange", read);
  read();
})();
