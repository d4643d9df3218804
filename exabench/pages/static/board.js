/* Sorting and filtering of the page's main table. Everything is readable without it; all state is in the address. */
(function () {
  "use strict";

  var table = document.getElementById("sortable");
  if (!table || !table.tHead || !table.tBodies.length) { return; }

  var form = document.getElementById("filter");
  var status = document.getElementById("status") || addStatus();
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var labels = heads.map(function (head) { return head.textContent.trim(); });
  var body = table.tBodies[0];
  var rows = Array.prototype.slice.call(body.rows).map(function (row, place) {
    return { row: row, place: place, text: null, keys: [] };
  });
  var collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  var FILTERS = ["q", "stage", "depth", "state", "whole"];
  var state = blank();
  var typing = 0;

  function blank() { return { sort: [], q: "", stage: "", depth: "", state: "", whole: "" }; }

  function addStatus() {
    var line = document.createElement("p");
    line.className = "soft";
    line.setAttribute("role", "status");
    document.querySelector(".scroll[aria-labelledby='" + table.caption.id + "']").before(line);
    return line;
  }

  /* -- state in the address: #q=mono&stage=bm25&sort=-mean,name ------------------------------------------- */

  function read() {
    var hash = location.hash.slice(1);
    if (hash && hash.indexOf("=") < 0) { return false; } // an anchor, such as the skip link's, is not a state
    var given = new URLSearchParams(hash);
    state = blank();
    FILTERS.forEach(function (name) { state[name] = (given.get(name) || "").slice(0, 200); });
    state.sort = (given.get("sort") || "").split(",").map(function (text) {
      var down = text.charAt(0) === "-";
      return { column: column(down ? text.slice(1) : text), down: down };
    }).filter(function (key) { return key.column >= 0; });
    return true;
  }

  function column(name) {
    return name ? heads.findIndex(function (head) { return head.dataset.key === name; }) : -1;
  }

  function address() {
    var given = new URLSearchParams();
    FILTERS.forEach(function (name) { if (state[name]) { given.set(name, state[name]); } });
    var keys = state.sort.map(function (key) { return (key.down ? "-" : "") + heads[key.column].dataset.key; });
    var text = given.toString() + (keys.length ? (given.toString() ? "&" : "") + "sort=" + keys.join(",") : "");
    return "#" + text;
  }

  function go(quietly) {
    var target = address();
    if (target === (location.hash || "#")) { show(); return; }
    if (quietly) { location.replace(target); } else { location.hash = target; }
  }

  /* -- sorting -------------------------------------------------------------------------------------------- */

  function key(item, place) {
    if (item.keys[place] === undefined) {
      var text = item.row.cells[place] ? item.row.cells[place].textContent.trim() : "";
      item.keys[place] = heads[place].dataset.kind ? number(text) : text.replace(/^\u2013$/, "");
    }
    return item.keys[place];
  }

  function number(text) {
    var first = text.split(/\s/)[0].replace("\u2212", "-").replace(/,/g, "");
    return /^[+-]?\d+(\.\d+)?$/.test(first) ? parseFloat(first) : null; // "2/4 tasks" and a dash are no numbers
  }

  function compare(a, b) {
    for (var i = 0; i < state.sort.length; i += 1) {
      var by = state.sort[i], x = key(a, by.column), y = key(b, by.column);
      var lacksX = x === null || x === "", lacksY = y === null || y === "";
      if (lacksX !== lacksY) { return lacksX ? 1 : -1; } // what is missing stays last, whichever way round
      if (!lacksX) {
        var order = typeof x === "number" ? x - y : collator.compare(x, y);
        if (order) { return by.down ? -order : order; }
      }
    }
    return a.place - b.place;
  }

  function press(place, more) {
    if (form) { change(); }
    var found = state.sort.find(function (by) { return by.column === place; });
    var others = state.sort.filter(function (by) { return by.column !== place; });
    var downFirst = heads[place].dataset.kind === "number";
    var next = found ? { column: place, down: !found.down } : { column: place, down: downFirst };
    var ended = found && found.down !== downFirst; // third press: back to the page's own order
    if (!more) { state.sort = ended ? [] : [next]; }
    else if (ended) { state.sort = others; }
    else if (found) { state.sort = state.sort.map(function (by) { return by.column === place ? next : by; }); }
    else { state.sort = others.concat([next]); }
    go(false);
  }

  function addButtons() {
    heads.forEach(function (head, place) {
      if (!head.dataset.key) { return; }
      var button = document.createElement("button");
      var mark = document.createElement("span");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      mark.className = "dir";
      mark.setAttribute("aria-hidden", "true");
      button.appendChild(mark);
      button.addEventListener("click", function (event) { press(place, event.shiftKey); });
      head.appendChild(button);
    });
  }

  function markHeads() {
    heads.forEach(function (head, place) {
      var button = head.querySelector("button");
      if (!button) { return; }
      var at = state.sort.findIndex(function (by) { return by.column === place; });
      var mark = button.querySelector(".dir");
      head.removeAttribute("aria-sort");
      button.removeAttribute("data-dir");
      mark.textContent = at >= 0 && state.sort.length > 1 ? String(at + 1) : "";
      if (at >= 0) { button.dataset.dir = state.sort[at].down ? "down" : "up"; }
      if (at === 0) { head.setAttribute("aria-sort", state.sort[0].down ? "descending" : "ascending"); }
    });
  }

  /* -- filtering ------------------------------------------------------------------------------------------ */

  function matches(item) {
    var data = item.row.dataset;
    if (state.stage && data.stage !== state.stage) { return false; }
    if (state.depth && data.depth !== state.depth) { return false; }
    if (state.state && (data.state || "").split(" ").indexOf(state.state) < 0) { return false; }
    if (state.whole && !("whole" in data)) { return false; }
    if (!state.q) { return true; }
    if (item.text === null) { item.text = item.row.textContent.toLowerCase(); }
    return state.q.toLowerCase().split(/\s+/).every(function (word) { return item.text.indexOf(word) >= 0; });
  }

  /* -- showing -------------------------------------------------------------------------------------------- */

  function show() {
    var order = rows.slice().sort(compare), shown = 0;
    var fragment = document.createDocumentFragment();
    order.forEach(function (item) {
      var fits = !form || matches(item);
      if (item.row.hidden === fits) { item.row.hidden = !fits; }
      shown += fits ? 1 : 0;
      fragment.appendChild(item.row);
    });
    body.appendChild(fragment);
    markHeads();
    if (form) { fill(); }
    announce(shown);
  }

  function fill() {
    FILTERS.forEach(function (name) {
      var field = form.elements[name];
      if (field.type === "checkbox") { field.checked = Boolean(state[name]); }
      else if (field.value !== state[name] && !(typing && name === "q")) { field.value = state[name]; }
    });
  }

  function announce(shown) {
    var keys = state.sort.map(function (by) {
      return labels[by.column] + (by.down ? ", descending" : ", ascending");
    });
    var counted = form ? shown + " of " + rows.length + " shown" : "";
    var sorted = keys.length ? "sorted by " + keys.join("; then ") : "";
    status.textContent = [counted, sorted].filter(Boolean).join(", ");
  }

  function change() { // takes what the form says now, words still being typed included
    clearTimeout(typing);
    typing = 0;
    FILTERS.forEach(function (name) {
      var field = form.elements[name];
      state[name] = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value;
    });
  }

  addButtons();
  if (form) {
    form.hidden = false;
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("change", function (event) {
      if (event.target.name !== "q") { change(); go(false); }
    });
    form.elements.q.addEventListener("input", function () {
      clearTimeout(typing);
      typing = setTimeout(function () { change(); go(true); }, 120);
    });
    document.getElementById("reset").addEventListener("click", function (event) {
      event.preventDefault();
      clearTimeout(typing);
      typing = 0;
      state = blank();
      go(false);
      show();
      form.elements.q.focus();
    });
  }
  window.addEventListener("hashchange", function () { if (read()) { show(); } });
  if (read() && location.hash.length > 1) { show(); }
}());
