/* What the pages that compare lines of the board share: its data files, a picker of lines, tables and figures. */
(function () {
  "use strict";

  var own = window.exabench = window.exabench || {};
  var MATCHES = 50, AT_ONCE = 16, SVG = "http://www.w3.org/2000/svg";
  var came = {}, asked = {}, waiting = [], loading = 0;

  /* -- data files: classic scripts that call one of these, so that a folder without a server will do -------- */

  own.lines = function (data) { came.lines = data; };
  own.queries = function (data) { came["queries/" + data.of.join("/")] = data; };
  own.vector = function (data) { came["vector/" + data.of.join("/")] = data; };
  own.groups = function (data) { came["groups/" + data.key] = data; };

  /* A promise of what the file registers under `name`; it fails where the file is not there. */
  function file(path, name) {
    asked[path] = asked[path] || new Promise(function (done, failed) {
      waiting.push(function () {
        var script = document.createElement("script");
        script.src = path;
        script.onload = function () { ended(script); if (came[name]) { done(came[name]); } else { failed(new Error(path)); } };
        script.onerror = function () { ended(script); delete asked[path]; failed(new Error(path)); };
        document.head.appendChild(script);
      });
      start();
    });
    return asked[path];
  }

  function start() {
    while (waiting.length && loading < AT_ONCE) { loading += 1; waiting.shift()(); }
  }

  function ended(script) {
    loading -= 1;
    script.remove();
    start();
  }

  function stem(task, candidates) { return task + "." + candidates + ".js"; }

  own.files = {
    queries: function (task, candidates) {
      return file("data/queries/" + stem(task, candidates), "queries/" + task + "/" + candidates);
    },
    /* The result's headline values, in the order of its query list, and what they were measured on. */
    vector: function (slug, task, candidates) {
      var name = "vector/" + [slug, task, candidates].join("/");
      return file("data/queries/" + slug + "/" + stem(task, candidates), name).then(function (data) {
        data.all = data.all || Float64Array.from(data.at, function (place) { return data.values[place]; });
        return data;
      });
    },
    groups: function (key) { return file("data/groups/" + key + ".js", "groups/" + key); }
  };

  /* -- the lines of the board ------------------------------------------------------------------------------- */

  /* Every line as {key, label, slug, lists: [[task, candidates], ...]}. A submission over several candidate lists
     has a line more, over all of them. */
  own.board = function () {
    var data = came.lines, made = [], every = {};
    if (!data) { return null; }
    data.lines.forEach(function (line) {
      var who = data.submissions[line[0]], candidates = data.candidates[line[1]];
      var lists = data.sets[line[2]].map(function (task) { return [data.singles[task], candidates]; });
      var name = / \(first stage\)$/.test(who[1]) ? "first stage: " + candidates.replace(/-\d+$/, "") : who[1]; // as on other pages
      made.push({ key: who[0] + "." + candidates, label: name + " over " + candidates, slug: who[0], lists: lists });
      (every[who[0]] = every[who[0]] || { who: who, lists: [], lines: 0 }).lines += 1;
      every[who[0]].lists = every[who[0]].lists.concat(lists);
    });
    Object.keys(every).forEach(function (slug) {
      var one = every[slug];
      if (one.lines > 1) { made.push({ key: slug, label: one.who[1] + " over every list", slug: slug, lists: one.lists }); }
    });
    made.forEach(function (line) { line.text = (line.label + " " + line.slug).toLowerCase(); });
    return {
      lines: made, tasks: data.tasks, singles: data.singles, rankings: data.rankings,
      byKey: new Map(made.map(function (line) { return [line.key, line]; }))
    };
  };

  /* Those of `lines` whose label holds every word, at most fifty, and how many there are. */
  own.matching = function (lines, words) {
    var wanted = words.toLowerCase().split(/\s+/).filter(Boolean), found = [], all = 0;
    lines.forEach(function (line) {
      if (wanted.every(function (word) { return line.text.indexOf(word) >= 0; })) {
        all += 1;
        if (all <= MATCHES) { found.push(line); }
      }
    });
    return { found: found, all: all };
  };

  /* -- elements --------------------------------------------------------------------------------------------- */

  /* An element with attributes; a child is an element or text, never HTML. */
  function make(name, given, children) { return grown(document.createElement(name), given, children); }

  function draw(name, given, children) { return grown(document.createElementNS(SVG, name), given, children); }

  function grown(node, given, children) {
    Object.keys(given || {}).forEach(function (key) {
      if (given[key] !== null && given[key] !== undefined) { node.setAttribute(key, given[key]); }
    });
    [].concat(children === undefined ? [] : children).forEach(function (child) {
      node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
    });
    return node;
  }

  /* A figure that says what it is: role, title and description, as the figures that are made at build. */
  function figure(key, wide, high, title, about, parts) {
    var svg = draw("svg", {
      "class": "fig", viewBox: "0 0 " + wide + " " + high, width: wide, height: high, role: "img",
      "aria-labelledby": key + "-title " + key + "-desc"
    }, [draw("title", { id: key + "-title" }, title), draw("desc", { id: key + "-desc" }, about)].concat(parts));
    var region = make("div", { "class": "scroll", role: "region", "aria-label": title, tabindex: "0" }, svg);
    return make("figure", {}, [region, make("figcaption", {}, about)]);
  }

  function shortly(text, limit) { return text.length > limit ? text.slice(0, limit - 1) + "\u2026" : text; }

  function words(x, y, text, kind, limit) {
    return draw("text", { "class": kind || "lab", x: x.toFixed(1), y: y.toFixed(1) }, shortly(text, limit || 200));
  }

  function path(kind, d) { return draw("path", { "class": kind, d: d }); }

  /* A table: heads are [text, number?], rows lists of cells, the first a head of its row. */
  function table(key, caption, heads, rows) {
    var head = heads.map(function (one) { return make("th", { scope: "col", "class": one[1] ? "n" : null }, one[0]); });
    var body = rows.map(function (cells) {
      return make("tr", {}, cells.map(function (cell, i) {
        var kind = heads[i][1] ? "n" : null;
        return i ? make("td", { "class": kind }, cell) : make("th", { scope: "row" }, cell);
      }));
    });
    var whole = make("table", {}, [make("caption", { id: key }, caption),
      make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)]);
    return make("div", { "class": "scroll", role: "region", "aria-labelledby": key, tabindex: "0" }, whole);
  }

  own.page = { make: make, draw: draw, figure: figure, words: words, path: path, table: table, shortly: shortly };

  /* -- numbers, as the rest of the site writes them --------------------------------------------------------- */

  function minus(text) { return text.replace("-", "\u2212"); }

  own.say = {
    score: function (value) { return minus((100 * value).toFixed(1)); },
    signed: function (value) {
      var text = (100 * value).toFixed(1);
      return /^-?0\.0$/.test(text) ? "0.0" : minus(value > 0 ? "+" + text : text);
    },
    p: function (value) { return value < 0.001 ? "< 0.001" : value.toFixed(3); },
    effect: function (value) {
      const text = value.toFixed(2);
      return /^-?0\.00$/.test(text) ? "0.00" : minus((value < 0 ? "" : "+") + text);
    },
    count: function (value) { return String(value).replace(/\B(?=(\d{3})+$)/g, ","); }
  };

  /* -- the picker: a text field that opens a list of the lines that hold its words --------------------------- */

  /* Calls `chosen(line)`; returns {show(line), lines(given)}. */
  own.picker = function (field, list, chosen) {
    var lines = [], found = [], at = -1, now = null;

    function open() {
      var result = own.matching(lines, now && field.value === now.label ? "" : field.value);
      found = result.found;
      at = -1;
      list.textContent = "";
      found.forEach(function (line, i) {
        list.appendChild(make("li", { id: list.id + "-" + i, role: "option", "aria-selected": "false" }, line.label));
      });
      var rest = result.all > found.length ? own.say.count(result.all - found.length) + " more: type more words" : "";
      if (!found.length || rest) {
        list.appendChild(make("li", { role: "option", "aria-disabled": "true", "aria-selected": "false", "class": "soft" },
          rest || "no line has these words"));
      }
      list.hidden = false;
      list.scrollTop = 0;
      field.setAttribute("aria-expanded", "true");
      field.removeAttribute("aria-activedescendant");
    }

    function close() {
      list.hidden = true;
      at = -1;
      field.setAttribute("aria-expanded", "false");
      field.removeAttribute("aria-activedescendant");
    }

    function move(to) {
      if (list.hidden) { open(); }
      if (!found.length) { return; }
      if (at >= 0) { list.children[at].setAttribute("aria-selected", "false"); }
      at = (to + found.length) % found.length;
      list.children[at].setAttribute("aria-selected", "true");
      list.children[at].scrollIntoView({ block: "nearest" });
      field.setAttribute("aria-activedescendant", list.children[at].id);
    }

    function take(line) {
      close();
      show(line);
      chosen(line);
    }

    function show(line) {
      now = line || null;
      field.value = now ? now.label : "";
    }

    field.addEventListener("input", open);
    field.addEventListener("click", function () { field.select(); open(); });
    field.addEventListener("blur", function () { close(); show(now); });
    field.addEventListener("keydown", function (event) {
      var known = true;
      if (event.key === "ArrowDown") { move(at + 1); }
      else if (event.key === "ArrowUp") { move(at < 0 ? found.length - 1 : at - 1); }
      else if (event.key === "Enter" && !list.hidden && found.length) { take(found[Math.max(0, at)]); }
      else if (event.key === "Escape" && !list.hidden) { close(); show(now); }
      else { known = event.key === "Enter"; }
      if (known) { event.preventDefault(); }
    });
    list.addEventListener("mousedown", function (event) { event.preventDefault(); }); // the field keeps the focus
    list.addEventListener("click", function (event) {
      var place = Array.prototype.indexOf.call(list.children, event.target.closest("li"));
      if (found[place]) { take(found[place]); }
    });
    return { show: show, lines: function (given) { lines = given; } };
  };

  /* -- state in the address ---------------------------------------------------------------------------------- */

  /* The hash as a map, or null where it names a place on the page. */
  own.address = function () {
    var hash = location.hash.slice(1);
    return hash && hash.indexOf("=") < 0 ? null : new URLSearchParams(hash);
  };

  own.go = function (values) {
    var given = new URLSearchParams();
    Object.keys(values).forEach(function (key) { if (values[key]) { given.set(key, values[key]); } });
    location.hash = given.toString();
  };
}());
