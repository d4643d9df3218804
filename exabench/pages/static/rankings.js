/* A result, query by query: the first stage's top ten beside the reranked one. The open query is in the address. */
(function () {
  "use strict";

  var panel = document.getElementById("ranking"), table = document.getElementById("sortable");
  if (!panel || !table) { return; }

  var exabench = window.exabench = window.exabench || {};
  var own = panel.dataset, size = Number(own.size), shown = 10;
  var rows = {}, loaded = {}, waiting = {}, opened = null;

  /* -- data: scripts that call back with what they hold, loaded once ---------------------------------------- */

  exabench.passages = function (list, part, value) { arrived(own.list + "/" + part + ".js", value); };
  exabench.ranked = function (list, part, value) { arrived(own.run, value); };

  function arrived(file, value) {
    loaded[file] = value;
    (waiting[file] || []).forEach(function (then) { then(value); });
    delete waiting[file];
  }

  function load(file, then) {
    if (loaded[file]) { then(loaded[file]); return; }
    if (waiting[file]) { waiting[file].push(then); return; }
    waiting[file] = [then];
    var script = document.createElement("script");
    script.src = own.root + file;
    script.addEventListener("error", function () {
      delete waiting[file];
      script.remove();
      say(file + " cannot be loaded: is this copy of the site whole?");
    });
    document.head.appendChild(script);
  }

  /* -- the address: #sort=-gain&query=q12 ------------------------------------------------------------------- */

  function address(query) {
    var hash = location.hash.slice(1), given = new URLSearchParams(hash.indexOf("=") < 0 ? "" : hash);
    given.delete("query");
    if (query !== null) { given.set("query", query); }
    return "#" + given.toString().replace(/%2C/g, ",");
  }

  function asked() {
    var hash = location.hash.slice(1);
    return hash.indexOf("=") < 0 ? null : new URLSearchParams(hash).get("query");
  }

  /* -- showing ---------------------------------------------------------------------------------------------- */

  function element(tag, text, kind) {
    var made = document.createElement(tag);
    if (text !== undefined) { made.textContent = text; }
    if (kind) { made.className = kind; }
    return made;
  }

  function say(text) { panel.replaceChildren(element("p", text, "soft")); panel.hidden = false; }

  function open(query, focus) {
    var row = rows[query], part = row && Math.floor(row.at / size);
    opened = query;
    if (!row) { say("The candidates hold no query " + query + "."); return; }
    say("Loading query " + query + ".");
    load(own.list + "/" + part + ".js", function (list) {
      load(own.run, function (tops) {
        if (opened === query) { show(row, list.queries[row.at % size], list.texts, tops[row.at], focus); }
      });
    });
  }

  function show(row, query, texts, top, focus) {
    var head = element("h3"), passages = query[3], grades = query[4], pair = element("div", undefined, "pair");
    head.tabIndex = -1;
    head.appendChild(element("span", "Query "));
    head.appendChild(element("bdi", query[0]));
    if (query[1]) { head.append(": ", element("bdi", query[1])); }
    var first = passages.map(function (_, place) { return place; }).slice(0, shown);
    pair.append(
      list("First stage", first, passages, grades, texts, false),
      list("Reranked", top, passages, grades, texts, true)
    );
    panel.replaceChildren(head, element("p", values(row, query, passages), "soft"), pair, steps(row));
    panel.hidden = false;
    mark(row);
    if (focus) { head.focus({ preventScroll: true }); head.scrollIntoView({ block: "start" }); }
  }

  function values(row, query, passages) {
    var text = row.said + " " + passages.length + " candidates.";
    if (query[2] === null) { return text; }
    return text + " " + query[2] + (query[2] === 1 ? " passage of the collection is" : " passages of the collection are") + " judged relevant.";
  }

  function list(title, places, passages, grades, texts, reranked) {
    var box = element("section"), ordered = element("ol", undefined, "top");
    box.appendChild(element("h4", title + ", first " + places.length));
    places.forEach(function (place, rank) {
      var id = passages[place], words = texts[id], grade = grades.length ? grades[place] : undefined;
      var item = element("li"), line = element("p");
      line.appendChild(element("bdi", id, "id"));
      line.append(" ", badge(grade));
      if (reranked) { line.append(" ", element("span", moved(place, rank), "soft")); }
      item.appendChild(line);
      if (words) {
        var text = element("p", undefined, "soft"), name = element("b");
        name.appendChild(element("bdi", words[0]));
        if (words[0]) { text.append(name, " "); }
        text.appendChild(element("bdi", words[1]));
        item.appendChild(text);
      }
      ordered.appendChild(item);
    });
    box.appendChild(places.length ? ordered : element("p", "The run does not answer this query.", "soft"));
    return box;
  }

  function badge(grade) {
    if (grade === undefined) { return element("span", "", "grade"); }
    if (grade === null) { return element("span", "not judged", "grade"); }
    return element("span", "grade " + grade, grade > 0 ? "grade good" : "grade");
  }

  function moved(place, rank) {
    return place === rank ? "as before" : (place > rank ? "\u25B2" : "\u25BC") + " from " + (place + 1);
  }

  function steps(row) {
    var line = element("p", undefined, "steps"), around = visible(), here = around.indexOf(row.row);
    [["Query above", around[here - 1]], ["Query below", around[here + 1]]].forEach(function (step) {
      if (step[1]) { line.append(link(step[0], step[1].dataset.query), " "); }
    });
    var close = element("a", "Close");
    close.href = address(null);
    line.appendChild(close);
    return line;
  }

  function visible() {
    return Array.prototype.filter.call(table.tBodies[0].rows, function (row) { return row.dataset.at !== undefined; });
  }

  function link(text, query) {
    var made = element("a", text);
    made.href = address(query);
    made.addEventListener("click", function (event) { // the address may have been sorted by since
      event.preventDefault();
      if (location.hash === address(query)) { open(query, true); } else { location.hash = address(query); }
    });
    return made;
  }

  function mark(row) {
    Object.keys(rows).forEach(function (query) { rows[query].link.removeAttribute("aria-current"); });
    if (row) { row.link.setAttribute("aria-current", "true"); }
  }

  function close() {
    var row = rows[opened];
    opened = null;
    panel.hidden = true;
    panel.replaceChildren();
    mark(null);
    if (row) { row.link.focus(); }
  }

  /* -- start ------------------------------------------------------------------------------------------------ */

  function read(focus) {
    var query = asked();
    if (query === null) { if (opened !== null) { close(); } return; }
    if (query !== opened) { open(query, focus); }
  }

  visible().forEach(function (row) {
    var head = row.cells[0], query = head.textContent, made = link(query, query);
    row.dataset.query = query;
    head.replaceChildren(made);
    rows[query] = { row: row, link: made, at: Number(row.dataset.at), said: said(row) };
  });

  function said(row) {
    return Array.prototype.slice.call(row.cells, 1).map(function (cell, i) {
      return table.tHead.rows[0].cells[i + 1].textContent.trim() + " " + cell.textContent.trim();
    }).join(", ") + ".";
  }

  document.getElementById("how-to-open").hidden = false;
  window.addEventListener("hashchange", function () { read(true); });
  read(true);
}());
