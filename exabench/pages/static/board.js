/* What every page shares: small tools, sorting of a page's main table, and figures whose points can be walked through.
   Everything is readable without it; all state is in the address. */
(() => {
  "use strict";

  const exabench = window.exabench = window.exabench || {};

  /* An element with attributes (null leaves one out) and children: nodes or texts, never markup. */
  exabench.el = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const key in attributes) { if (attributes[key] !== null) { made.setAttribute(key, attributes[key]); } }
    for (const child of children) { if (child !== null && child !== "") { made.append(child); } }
    return made;
  };

  /* A script file of the site: it calls a function of `exabench`, which works from a folder, too. */
  exabench.load = (address, failed) => {
    const script = exabench.el("script", { src: address });
    script.onload = () => script.remove();
    script.onerror = () => { script.remove(); failed(); };
    document.head.append(script);
  };

  const table = document.getElementById("sortable");
  if (table && table.tHead && table.tBodies.length) { sortable(); }
  document.querySelectorAll("svg.walk").forEach(walk);

  /* -- sorting a plain table: #sort=-mean,name ------------------------------------------------------------- */

  function sortable() {
    const el = exabench.el, body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const labels = heads.map((head) => head.textContent.trim());
    const rows = [...body.rows].map((row, place) => ({ row, place, keys: [] }));
    const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
    const status = document.getElementById("status") || el("p", { class: "soft", role: "status", id: "status" });
    if (!status.isConnected) { table.closest(".scroll").before(status); }
    let sort = [];

    const column = (name) => heads.findIndex((head) => name && head.dataset.key === name);

    function read() {
      const hash = location.hash.slice(1);
      if (hash && !hash.includes("=")) { return false; } // an anchor, such as the skip link's, is not a state
      sort = (new URLSearchParams(hash).get("sort") || "").split(",").map((text) => {
        const down = text.startsWith("-");
        return { column: column(down ? text.slice(1) : text), down };
      }).filter((by) => by.column >= 0);
      return true;
    }

    function key(item, place) {
      if (item.keys[place] === undefined) {
        const text = item.row.cells[place] ? item.row.cells[place].textContent.trim() : "";
        item.keys[place] = heads[place].dataset.kind ? number(text) : text.replace(/^\u2013$/, "");
      }
      return item.keys[place];
    }

    function number(text) {
      const first = text.split(/\s/)[0].replace("\u2212", "-").replace(/,/g, "");
      return /^[+-]?\d+(\.\d+)?$/.test(first) ? parseFloat(first) : null; // "2/4 tasks" and a dash are no numbers
    }

    function compare(a, b) {
      for (const by of sort) {
        const x = key(a, by.column), y = key(b, by.column), lacksX = x === null || x === "", lacksY = y === null || y === "";
        if (lacksX !== lacksY) { return lacksX ? 1 : -1; } // what is missing stays last, whichever way round
        const order = lacksX ? 0 : typeof x === "number" ? x - y : collator.compare(x, y);
        if (order) { return by.down ? -order : order; }
      }
      return a.place - b.place;
    }

    function show() {
      body.append(...rows.slice().sort(compare).map((item) => item.row));
      heads.forEach((head, place) => {
        const button = head.querySelector("button"), at = sort.findIndex((by) => by.column === place);
        head.removeAttribute("aria-sort");
        button.removeAttribute("data-dir");
        button.querySelector(".dir").textContent = at >= 0 && sort.length > 1 ? String(at + 1) : "";
        if (at >= 0) { button.dataset.dir = sort[at].down ? "down" : "up"; }
        if (at === 0) { head.setAttribute("aria-sort", sort[0].down ? "descending" : "ascending"); }
      });
      status.textContent = sort.length ? "sorted by "
        + sort.map((by) => labels[by.column] + (by.down ? ", descending" : ", ascending")).join("; then ") : "";
    }

    function press(place, adds) {
      const at = sort.findIndex((by) => by.column === place);
      const by = { column: place, down: at >= 0 ? !sort[at].down : heads[place].dataset.kind === "number" };
      if (!adds) { sort = [by]; } else if (at >= 0) { sort[at] = by; } else { sort.push(by); }
      const next = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
      next.set("sort", sort.map((one) => (one.down ? "-" : "") + heads[one.column].dataset.key).join(","));
      location.hash = `#${next.toString().replaceAll("%2C", ",")}`; // an open query stays open
    }

    heads.forEach((head, place) => {
      const button = el("button", { type: "button" }, ...head.childNodes, el("span", { class: "dir", "aria-hidden": "true" }));
      button.addEventListener("click", (event) => press(place, event.shiftKey));
      head.append(button);
    });
    window.addEventListener("hashchange", () => { if (read()) { show(); } });
    if (read() && location.hash.length > 1) { show(); }
  }

  /* -- a figure's points, one after another by the arrow keys, each with its label while it has the focus ---- */

  function walk(figure) {
    const points = [...figure.querySelectorAll("circle:has(> title)")];
    if (!points.length) { return; }
    const wide = figure.viewBox.baseVal.width, space = "http://www.w3.org/2000/svg";
    const label = document.createElementNS(space, "text"), ground = document.createElementNS(space, "rect");
    const ordered = points.sort((a, b) => a.cx.baseVal.value - b.cx.baseVal.value);
    figure.setAttribute("role", "group");
    ground.setAttribute("class", "label");
    label.setAttribute("class", "said");
    ordered.forEach((point, place) => {
      point.setAttribute("role", "img");
      point.setAttribute("aria-label", point.textContent);
      point.setAttribute("tabindex", place ? "-1" : "0");
      point.addEventListener("focus", () => say(point));
      point.addEventListener("blur", hush);
      point.addEventListener("mouseenter", () => say(point));
      point.addEventListener("mouseleave", () => { if (document.activeElement !== point) { hush(); } });
      point.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = ordered[event.key === "Home" ? 0 : event.key === "End" ? ordered.length - 1 : place + step];
        if (!next) { return; }
        event.preventDefault();
        point.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });

    function say(point) {
      label.textContent = point.getAttribute("aria-label");
      figure.append(ground, label);
      const size = label.getBBox().width, x = point.cx.baseVal.value, y = Math.max(22, point.cy.baseVal.value - 14);
      const start = Math.max(6, Math.min(x - size / 2, wide - size - 6));
      label.setAttribute("x", start);
      label.setAttribute("y", y);
      for (const [key, value] of Object.entries({ x: start - 5, y: y - 14, width: size + 10, height: 20 })) { ground.setAttribute(key, value); }
    }

    function hush() { ground.remove(); label.remove(); }
  }
})();
