/* What the pages' scripts share: elements, data files, numbers as the pages write them, tables, figures, the address. */
(() => {
  "use strict";

  const exabench = window.exabench = window.exabench || {};
  const SPACE = "http://www.w3.org/2000/svg", MINUS = "\u2212", NOTHING = "\u2013", AT_ONCE = 16;

  /* -- elements ------------------------------------------------------------------------------------------- */

  function grow(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) { node.setAttribute(key, value); }
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
    return node;
  }

  /* An element with attributes (null leaves one out) and children: nodes or texts, never markup. */
  const el = (name, attributes = {}, ...children) => grow(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) => grow(document.createElementNS(SPACE, name), attributes, children);

  /* -- data files: classic scripts of one call, so that a folder without a server will do -------------------- */

  const asked = new Map(), waiting = [];
  let loading = 0;

  for (const name of ["queries", "vector", "groups", "passages", "ranked", "scores"]) {
    exabench[name] = (...values) => { document.currentScript.given = values.at(-1); };
  }

  /* A promise of what the file at this address hands over, asked for once; it fails where the file is not there. */
  function load(address) {
    if (!asked.has(address)) {
      asked.set(address, new Promise((done, failed) => {
        const script = el("script", { src: address });
        const ended = (call, value) => { loading -= 1; script.remove(); call(value); start(); };
        script.onload = () => ended(done, script.given);
        script.onerror = () => { asked.delete(address); ended(failed, new Error(address)); };
        waiting.push(script);
        start();
      }));
    }
    return asked.get(address);
  }

  function start() {
    for (; waiting.length && loading < AT_ONCE; loading += 1) { document.head.append(waiting.shift()); }
  }

  /* -- numbers -------------------------------------------------------------------------------------------- */

  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  const minus = (text) => text.replace("-", MINUS);
  const withSign = (text) => /^-?0\.0+$/.test(text) ? text.replace("-", "") : minus(text.startsWith("-") ? text : `+${text}`);
  const amounts = new Intl.NumberFormat("en", {
    minimumSignificantDigits: 3, maximumSignificantDigits: 3, maximumFractionDigits: 0, roundingPriority: "morePrecision"
  });

  const say = {
    score: (value) => missing(value) ? NOTHING : minus((100 * value).toFixed(1)),
    signed: (value) => missing(value) ? NOTHING : withSign((100 * value).toFixed(1)),
    between: (low, high) => `${say.score(low)}${NOTHING}${say.score(high)}`,
    p: (value) => value < 0.001 ? "< 0.001" : value.toFixed(3),
    effect: (value) => missing(value) ? NOTHING : withSign(value.toFixed(2)),
    count: (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ","),
    counted: (number, what, many) => `${say.count(number)} ${number === 1 ? what : many || `${what}s`}`,
    three: (value) => missing(value) ? NOTHING : value === 0 ? "0" : amounts.format(value)
  };

  /* -- tables and figures --------------------------------------------------------------------------------- */

  /* A table that can be scrolled alone: heads are [text, is it of numbers?], the first cell of a row is its head; the
     others are what stands in them, or cells. */
  function table(key, caption, heads, rows, kind = null) {
    const made = (cell, i) => i ? el("td", { class: heads[i][1] ? "n" : null }, cell) : el("th", { scope: "row" }, cell);
    const body = rows.map((cells) => el("tr", {}, cells.map((cell, i) => cell.tagName === "TD" ? cell : made(cell, i))));
    const head = heads.map(([text, isNumber]) => el("th", { scope: "col", class: isNumber ? "n" : null }, text));
    return scroll({ "aria-labelledby": key }, el("table", { class: kind }, el("caption", { id: key }, caption),
      el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
  }

  const scroll = (named, inside) => el("div", { class: "scroll", role: "region", tabindex: "0", ...named }, inside);

  /* A figure that says what it is: role, title and description, as the figures that are made at build. */
  function figure(key, wide, high, title, about, parts) {
    const drawn = svg("svg", { class: "fig", viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "img",
      "aria-labelledby": `${key}-title ${key}-desc` },
    svg("title", { id: `${key}-title` }, title), svg("desc", { id: `${key}-desc` }, about), parts);
    return el("figure", {}, scroll({ "aria-label": title }, drawn), el("figcaption", {}, about));
  }

  const words = (x, y, text, kind, limit = 200) => svg("text", { class: kind, x: x.toFixed(1), y: y.toFixed(1) },
    text.length > limit ? `${text.slice(0, limit - 1)}\u2026` : text);
  const path = (kind, d) => svg("path", { class: kind, d });
  const dot = (kind, x, y, r) => svg("circle", { class: kind, cx: x.toFixed(1), cy: y.toFixed(1), r });

  /* -- the address ---------------------------------------------------------------------------------------- */

  /* The hash as a map, or null where it names a place on the page, such as the skip link's: that is not a state. */
  function address() {
    const hash = location.hash.slice(1);
    return hash && !hash.includes("=") ? null : new URLSearchParams(hash);
  }

  /* A hash of these values, without those that are empty. */
  function hashOf(values) {
    const given = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
    return `#${given.toString().replaceAll("%2C", ",")}`;
  }

  /* -- an order by several columns: [{key, down}, ...], as text "-mean,name" -------------------------------- */

  const sorting = {
    parse: (text) => text.split(",").filter(Boolean).map((one) => ({ key: one.replace(/^-/, ""), down: one.startsWith("-") })),
    text: (sort) => sort.map((by) => (by.down ? "-" : "") + by.key).join(),
    /* The order after a press on a head; `adds` keeps the columns before it. A column of numbers starts with the largest. */
    pressed: (sort, key, isNumber, adds) => {
      const at = sort.findIndex((by) => by.key === key);
      const by = { key, down: at >= 0 && (adds || at === 0) ? !sort[at].down : isNumber };
      return adds ? (at >= 0 ? sort.with(at, by) : [...sort, by]) : [by];
    },
    mark: (head, key, sort) => {
      const button = head.querySelector("button"), at = sort.findIndex((by) => by.key === key);
      head.removeAttribute("aria-sort");
      if (!button) { return; }
      button.removeAttribute("data-dir");
      button.querySelector(".dir").textContent = at >= 0 && sort.length > 1 ? String(at + 1) : "";
      if (at >= 0) { button.dataset.dir = sort[at].down ? "down" : "up"; }
      if (at === 0) { head.setAttribute("aria-sort", sort[0].down ? "descending" : "ascending"); }
    },
    button: (inside, pressed) => {
      const made = el("button", { type: "button" }, inside, el("span", { class: "dir", "aria-hidden": "true" }));
      made.addEventListener("click", (event) => pressed(event.shiftKey));
      return made;
    },
    said: (sort, label) => sort.length
      ? `sorted by ${sort.map((by) => `${label(by.key)}, ${by.down ? "descending" : "ascending"}`).join("; then ")}` : ""
  };

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  Object.assign(exabench, { el, svg, load, missing, say, table, figure, words, path, dot, address, hashOf, sorting, collator });
})();
