/* A result, query by query: the first stage's top ten beside the reranked one. The open query is in the address. */
(() => {
  "use strict";

  const panel = document.getElementById("ranking"), table = document.getElementById("sortable");
  if (!panel || !table) { return; }

  const exabench = window.exabench, { el, load } = exabench;
  const { root, list: folder, run, size } = panel.dataset, SHOWN = 10, rows = new Map();
  let opened = null;

  const hashOf = (query) => exabench.hashOf({ ...Object.fromEntries(exabench.address() || []), query });
  const note = (text) => el("p", { class: "soft" }, text);

  function say(text) { panel.replaceChildren(note(text)); panel.hidden = false; }

  async function open(query, focus) {
    const row = rows.get(query), place = row ? row.at % size : 0;
    opened = query;
    if (!row) { say(`The candidates hold no query ${query}.`); return; }
    say(`Loading query ${query}.`);
    try {
      const [list, tops] = await Promise.all([load(`${root}${folder}/${Math.floor(row.at / size)}.js`), load(root + run)]);
      if (opened === query) { show(row, list.queries[place], list.texts, tops[row.at], focus); }
    } catch (error) { say(`${error.message.slice(root.length)} cannot be loaded: is this copy of the site whole?`); }
  }

  function show(row, [query, text, relevant, passages, grades], texts, top, focus) {
    const head = el("h3", { tabindex: "-1" }, el("span", {}, "Query "), el("bdi", {}, query), text ? [": ", el("bdi", {}, text)] : "");
    const first = passages.map((_, place) => place).slice(0, SHOWN);
    const items = (places, reranked) => places.map((place, rank) => item(passages[place], texts[passages[place]],
      grades.length ? grades[place] : undefined, reranked ? moved(place, rank) : null));
    const judged = relevant === null ? "" : ` ${relevant} ${relevant === 1 ? "passage of the collection is" : "passages of the collection are"} judged relevant.`;
    panel.replaceChildren(head, note(`${row.said} ${passages.length} candidates.${judged}`),
      el("div", { class: "pair" }, list("First stage", items(first, false)), list("Reranked", items(top, true))), steps(row));
    panel.hidden = false;
    mark(row);
    if (focus) { head.focus({ preventScroll: true }); head.scrollIntoView({ block: "start" }); }
  }

  const list = (title, items) => el("section", {}, el("h4", {}, `${title}, first ${items.length}`),
    items.length ? el("ol", { class: "top" }, items) : note("The run does not answer this query."));

  function item(id, words, grade, move) {
    const line = el("p", {}, el("bdi", { class: "id" }, id), " ", badge(grade), move ? [" ", el("span", { class: "soft" }, move)] : "");
    if (!words) { return el("li", {}, line); }
    const title = words[0] ? [el("b", {}, el("bdi", {}, words[0])), " "] : "";
    return el("li", {}, line, el("p", { class: "soft" }, title, el("bdi", {}, words[1])));
  }

  function badge(grade) {
    const text = grade === undefined ? "" : grade === null ? "not judged" : `grade ${grade}`;
    return el("span", { class: grade > 0 ? "grade good" : "grade" }, text);
  }

  const moved = (place, rank) => place === rank ? "as before" : `${place > rank ? "\u25B2" : "\u25BC"} from ${place + 1}`;

  function steps(row) {
    const around = visible(), here = around.indexOf(row.row);
    const links = [["Query above", around[here - 1]], ["Query below", around[here + 1]]].filter(([, to]) => to);
    return el("p", { class: "steps" }, links.map(([text, to]) => [link(text, to.dataset.query), " "]),
      el("a", { href: hashOf("") }, "Close"));
  }

  const visible = () => [...table.tBodies[0].rows].filter((row) => row.dataset.at !== undefined);

  function link(text, query) {
    const made = el("a", { href: hashOf(query) }, text);
    made.addEventListener("click", (event) => { // the address may have been sorted by since
      event.preventDefault();
      if (location.hash === hashOf(query)) { open(query, true); } else { location.hash = hashOf(query); }
    });
    return made;
  }

  function mark(row) {
    rows.forEach((one) => one.link.removeAttribute("aria-current"));
    row?.link.setAttribute("aria-current", "true");
  }

  function close() {
    const row = rows.get(opened);
    opened = null;
    panel.hidden = true;
    panel.replaceChildren();
    mark(null);
    row?.link.focus();
  }

  function read() {
    const query = exabench.address()?.get("query");
    if (!query) { if (opened !== null) { close(); } } else if (query !== opened) { open(query, true); }
  }

  for (const row of visible()) {
    const head = row.cells[0], query = head.textContent, made = link(query, query), labels = [...table.tHead.rows[0].cells];
    const said = [...row.cells].filter((cell) => cell.className === "n").map((cell) =>
      `${labels[cell.cellIndex].textContent.trim()} ${cell.textContent.trim()}`).join(", ");
    row.dataset.query = query;
    head.replaceChildren(made);
    rows.set(query, { row, link: made, at: Number(row.dataset.at), said: `${said}.` });
  }
  document.getElementById("how-to-open").hidden = false;
  window.addEventListener("hashchange", read);
  read();
})();
