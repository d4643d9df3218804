/* On every page: sorting of the main table, and figures whose points can be walked through. All is readable without. */
(() => {
  "use strict";

  const exabench = window.exabench, { el, svg, sorting, collator } = exabench;
  const table = document.getElementById("sortable");
  if (table?.tHead && table.tBodies.length) { sortable(); }
  document.querySelectorAll("svg.walk").forEach(walk);
  /* On a narrow screen a strip of choices scrolls: the chosen one is brought into it. */
  document.querySelectorAll("nav.views, nav.beneath").forEach((strip) => {
    const here = strip.querySelector("[aria-current]");
    if (here && here.offsetLeft + here.offsetWidth > strip.offsetLeft + strip.clientWidth) {
      strip.scrollLeft = here.offsetLeft - strip.offsetLeft - 16; // a little of the one before shows that there is more
    }
  });

  /* -- sorting a plain table: #sort=-mean,name ------------------------------------------------------------- */

  function sortable() {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], keys = heads.map((head) => head.dataset.key);
    const labels = heads.map((head) => head.textContent.trim());
    const rows = [...body.rows].map((row, place) => ({ row, place, values: [] }));
    const status = document.getElementById("status") || el("p", { class: "soft", role: "status", id: "status" });
    if (!status.isConnected) { table.closest(".scroll").before(status); }
    let sort = [];

    /* What a row sorts by in a column; null where its cell says nothing. */
    function valueOf(item, key) {
      const place = keys.indexOf(key);
      if (item.values[place] === undefined) {
        const text = item.row.cells[place]?.textContent.trim().replace(/^\u2013$/, "") || "";
        item.values[place] = heads[place].dataset.kind ? number(text) : text || null;
      }
      return item.values[place];
    }

    function number(text) {
      const first = text.split(/\s/)[0].replace("\u2212", "-").replace(/,/g, "");
      return /^[+-]?\d+(\.\d+)?$/.test(first) ? parseFloat(first) : null; // "2/4 tasks" and a dash are not numbers
    }

    function compare(a, b) {
      for (const { key, down } of sort) {
        const x = valueOf(a, key), y = valueOf(b, key);
        if ((x === null) !== (y === null)) { return x === null ? 1 : -1; } // what is missing stays last, whichever way round
        const order = x === null ? 0 : typeof x === "number" ? x - y : collator.compare(x, y);
        if (order) { return down ? -order : order; }
      }
      return a.place - b.place;
    }

    function show() {
      const given = exabench.address();
      if (!given) { return; }
      sort = sorting.parse(given.get("sort") || "").filter((by) => keys.includes(by.key));
      body.append(...rows.slice().sort(compare).map((item) => item.row));
      heads.forEach((head, place) => sorting.mark(head, keys[place], sort));
      status.textContent = sorting.said(sort, (key) => labels[keys.indexOf(key)]);
    }

    heads.forEach((head, place) => head.append(sorting.button([...head.childNodes], (adds) => {
      const next = sorting.pressed(sort, keys[place], head.dataset.kind === "number", adds);
      location.hash = exabench.hashOf({ ...Object.fromEntries(exabench.address() || []), sort: sorting.text(next) }); // an open query stays
    })));
    window.addEventListener("hashchange", show);
    if (location.hash.length > 1) { show(); }
  }

  /* -- a figure's points, one after another by the arrow keys, each with its label while it has the focus ---- */

  function walk(figure) {
    const dot = (link) => link.querySelector("circle"), right = (link) => dot(link).cx.baseVal.value;
    const points = [...figure.querySelectorAll("a")].sort((a, b) => right(a) - right(b));
    if (!points.length) { return; }
    const wide = figure.viewBox.baseVal.width, label = svg("text", { class: "said", "paint-order": "stroke" });
    const hush = () => label.remove();
    points.forEach((point, place) => {
      point.setAttribute("tabindex", place ? "-1" : "0");
      point.addEventListener("focus", () => say(point));
      point.addEventListener("blur", hush);
      point.addEventListener("mouseenter", () => say(point));
      point.addEventListener("mouseleave", () => { if (document.activeElement !== point) { hush(); } });
      point.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = points[event.key === "Home" ? 0 : event.key === "End" ? points.length - 1 : place + step];
        if (!next) { return; }
        event.preventDefault();
        point.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });

    function say(point) {
      label.textContent = point.getAttribute("aria-label");
      figure.append(label);
      const size = label.getBBox().width, x = right(point);
      label.setAttribute("x", Math.max(6, Math.min(x - size / 2, wide - size - 6)));
      label.setAttribute("y", Math.max(22, dot(point).cy.baseVal.value - 14));
    }
  }
})();
