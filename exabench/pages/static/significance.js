/* Many lines of one ranking against each other. State is in the address: #of=view.all-tasks&lines=KEY,KEY&test=flips */
(function () {
  "use strict";

  var own = window.exabench, board = own && own.board();
  var form = document.getElementById("significance"), out = document.getElementById("matrix");
  if (!board || !form || !out) { return; }

  var t = own.paired, page = own.page, say = own.say, make = page.make;
  var status = document.getElementById("status"), MOST = 50, FIRST = 10, FEWEST = 5, COLUMNS = 4, LABEL = 56;
  var UNLIKE = "measured on other queries, by other judgements or by another convention.";
  var state = { of: "", lines: "", test: "" }, rankings = options(), rows = [], chosen = [], lost = "", turn = 0;

  var more = own.picker(form.elements.more, document.getElementById("more-list"), function (row) {
    more.show(null);
    if (chosen.length < MOST) { go(chosen.concat([row])); }
    else { status.textContent = "At most " + MOST + " lines are tested at once: leave one out first."; }
  });

  /* Every ranking and every task: {key, title, tasks: [names], lists of members}. */
  function options() {
    var whole = new Map(board.tasks.map(function (task) { return [task.name, task.members.length ? task.members : [task.name]]; }));
    return board.rankings.map(function (one) {
      return { key: one.key, title: one.title, tasks: one.tasks.map(function (name) { return whole.get(name); }) };
    }).concat(board.singles.map(function (name) {
      return { key: "task." + name, title: "task " + name, tasks: [[name]] };
    }));
  }

  function ranking() { return rankings.find(function (one) { return one.key === state.of; }) || rankings[0]; }

  /* -- choosing ------------------------------------------------------------------------------------------------ */

  function go(lines) {
    var first = rows.slice(0, Math.min(FIRST, rows.length));
    var same = lines && lines.length === first.length && lines.every(function (row) { return first.indexOf(row) >= 0; });
    own.go({ of: state.of, lines: lines && !same ? lines.map(function (row) { return row.key; }).join(",") : "", test: state.test });
  }

  function start() {
    var mine = turn += 1, of = ranking();
    form.elements.of.value = of.key;
    form.elements.test.value = state.test;
    status.textContent = "Loading the lines \u2026";
    own.files.groups(of.key).then(function (data) {
      if (mine !== turn) { return; }
      rows = data.rows.map(row);
      var wanted = state.lines ? state.lines.split(",") : null;
      chosen = wanted ? rows.filter(function (one) { return wanted.indexOf(one.key) >= 0; }) : rows.slice(0, FIRST);
      var strange = (wanted || []).filter(function (key) { return !rows.some(function (one) { return one.key === key; }); });
      lost = strange.length ? " Not in this ranking, or without a result on each of its tasks: " + strange.join(", ") + "." : "";
      if (chosen.length > MOST) { lost += " Only the first " + MOST + " of " + chosen.length + " lines are tested."; }
      chosen = chosen.slice(0, MOST);
      more.lines(rows.filter(function (one) { return chosen.indexOf(one) < 0; }));
      counts();
      load(of, mine);
    }, function (error) { status.textContent = "The lines could not be loaded: " + error.message; });
  }

  function row(given) {
    var line = board.byKey.get(given[0] + "." + given[1]), label = line ? line.label : given[0] + " over " + given[1];
    return { key: given[0] + "." + given[1], slug: given[0], candidates: given[1], label: label, text: label.toLowerCase(),
      mean: given[2] / 1e4, interval: [given[3] / 1e4, given[4] / 1e4], group: given[5],
      said: given.slice(2, 5).map(function (one) { return (Math.floor((one + 5) / 10) / 10).toFixed(1); }) }; // halves up: see _format.hundredths
  }

  function counts() {
    var select = form.elements.best, sizes = [5, 10, 20, 50].filter(function (n) { return n < rows.length; });
    if (rows.length <= MOST) { sizes.push(rows.length); }
    var is = sizes.find(function (n) { return n === chosen.length && rows[n - 1] === chosen[n - 1]; });
    select.textContent = "";
    if (is === undefined) { select.appendChild(make("option", { value: "" }, chosen.length + " chosen")); }
    sizes.forEach(function (n) {
      select.appendChild(make("option", { value: n }, n === rows.length ? "all " + n : "the best " + n));
    });
    select.value = is === undefined ? "" : String(is);
    select.disabled = !sizes.length;
  }

  /* -- loading and testing --------------------------------------------------------------------------------------- */

  function load(of, mine) {
    out.textContent = "";
    if (chosen.length < 2) {
      status.textContent = chosen.length ? "One line alone: there is no pair to test." : "No line has a result on every task here.";
      status.textContent += lost;
      if (chosen.length) { show(of, null); }
      return;
    }
    status.textContent = "Loading the values of " + chosen.length + " lines \u2026";
    Promise.all(chosen.map(function (one) { return values(one, of); })).then(function () {
      if (mine !== turn) { return; }
      var pairs = [];
      chosen.forEach(function (a, i) {
        chosen.slice(i + 1).forEach(function (b, j) { pairs.push({ i: i, j: i + 1 + j, a: a, b: b, why: unlike(a, b) }); });
      });
      test(pairs, 0, mine, function () { corrected(pairs); show(of, pairs); });
    }, function (error) { if (mine === turn) { status.textContent = "A file could not be loaded: " + error.message; } });
  }

  /* The line's values on each task of the ranking, and what they were measured on. */
  function values(one, of) {
    return Promise.all(of.tasks.map(function (members) {
      return Promise.all(members.map(function (task) { return own.files.vector(one.slug, task, one.candidates); }));
    })).then(function (tasks) {
      one.values = tasks.map(function (parts) {
        var all = parts.map(function (part) { return part.all; });
        return all.length > 1 ? t.joined(all) : all[0];
      });
      one.on = tasks.map(function (parts) {
        return parts.map(function (part) { return [part.metric, part.qrels, part.convention, part.queries].join(); }).join();
      }).join();
    });
  }

  function unlike(a, b) { return a.on === b.on ? "" : UNLIKE; }

  function test(pairs, from, mine, then) {
    var until = performance.now() + 40, at = from;
    if (mine !== turn) { return; }
    while (at < pairs.length && performance.now() < until) {
      var pair = pairs[at];
      if (!pair.why) { pair.test = t.pairedTest(pair.a.values, pair.b.values, Boolean(state.test)); }
      at += 1;
    }
    if (at === pairs.length) { then(); return; }
    if (Math.floor(10 * at / pairs.length) > Math.floor(10 * from / pairs.length)) {
      status.textContent = "Testing: " + say.count(at) + " of " + say.count(pairs.length) + " pairs \u2026";
    }
    setTimeout(test, 0, pairs, at, mine, then);
  }

  function corrected(pairs) {
    var fit = pairs.filter(function (pair) { return pair.test; });
    var p = t.holm(fit.map(function (pair) { return state.test ? pair.test.randomisation : pair.test.t_test; }));
    fit.forEach(function (pair, i) { pair.p = p[i]; });
    own.matrix = pairs;
  }

  /* -- showing ------------------------------------------------------------------------------------------------------ */

  function show(of, pairs) {
    var parts = [];
    if (pairs) {
      var told = pairs.filter(function (pair) { return pair.p < t.ALPHA; }).length;
      status.textContent = chosen.length + " of " + say.count(rows.length) + " lines: " + say.count(told) + " of "
        + say.count(pairs.length) + " pairs differ significantly (" + (state.test ? "randomisation" : "paired t-test") + ", Holm, 0.05)."
        + (state.test && pairs.length >= t.ALPHA * t.FLIPS ? " So many pairs need smaller p-values than these flips can give: "
          + "choose fewer lines, or the t-test." : "") + lost;
      parts.push(matrix(of, pairs));
    }
    parts.push(groups(of));
    if (pairs && of.tasks.length >= FEWEST && pairs.every(function (pair) { return pair.test; })) { parts.push(meanRanks(of)); }
    parts.forEach(function (part) { out.appendChild(part); });
  }

  function cell(pairs, i, j) {
    var pair = pairs.get(Math.min(i, j) + " " + Math.max(i, j)), sign = i < j ? 1 : -1;
    if (i === j) { return make("td", { "class": "self" }, "\u2013"); }
    if (pair.why) { return make("td", {}, "no test"); }
    var difference = sign * pair.test.difference, known = pair.p < t.ALPHA;
    var shape = !known ? "\u25CB" : difference > 0 ? "\u25B2" : "\u25BC";
    return make("td", { "class": !known ? null : difference > 0 ? "better" : "worse" }, [make("span", { "aria-hidden": "true" }, shape + " "),
      say.signed(difference), make("span", { "class": "between" }, "p " + say.p(pair.p).replace("< ", "<\u00a0"))]);
  }

  function matrix(of, pairs) {
    var byPlace = new Map(pairs.map(function (pair) { return [pair.i + " " + pair.j, pair]; }));
    var head = [make("th", { scope: "col" }, "Line")].concat(chosen.map(function (one, i) {
      return make("th", { scope: "col", "class": "n" }, make("abbr", { title: one.label }, String(i + 1)));
    }), [make("th", { scope: "col" }, "Leave out")]);
    var body = chosen.map(function (one, i) {
      var drop = make("button", { type: "button", "class": "drop", "aria-label": "Leave out " + one.label }, "\u00d7");
      drop.addEventListener("click", function () { go(chosen.filter(function (other) { return other !== one; })); });
      return make("tr", {}, [make("th", { scope: "row" }, [String(i + 1) + ". ", make("bdi", {}, one.label)])].concat(
        chosen.map(function (_, j) { return cell(byPlace, i, j); }), [make("td", {}, drop)]));
    });
    var table = make("table", { "class": "matrix" }, [make("caption", { id: "cap-matrix" }, of.title + ": the line at the left less the line "
      + "above, in points, and p with Holm\u2019s correction over " + say.count(pairs.length) + " pairs. \u25B2 significantly better, \u25BC significantly "
      + "worse, \u25CB cannot be told apart." + (pairs.every(function (pair) { return pair.test; }) ? "" : " No test: " + UNLIKE)), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body)]);
    return make("div", { "class": "scroll", role: "region", "aria-labelledby": "cap-matrix", tabindex: "0" }, table);
  }

  /* Lines from the best down, each with its mark on an axis, and bars beside those that cannot be told apart. */
  function diagram(key, title, about, lines, axis, bars) {
    var longest = Math.max.apply(null, lines.map(function (one) { return one.label.length; }));
    var left = 24 + 7.2 * Math.min(LABEL, longest), wide = 380, high = 24, top = 34, bottom = top + high * lines.length, parts = [];
    function x(value) { return left + wide * (value - axis.from) / (axis.to - axis.from || 1); }
    function y(i) { return top + high * i + 12; }
    axis.ticks.forEach(function (tick) {
      parts.push(page.path("grid", "M" + x(tick).toFixed(1) + " " + (top - 6) + "V" + bottom),
        page.words(x(tick), top - 12, axis.say(tick), "num mid"));
    });
    lines.forEach(function (one, i) {
      parts.push(page.words(left - 14, y(i) + 4, one.label, "lab end", LABEL));
      if (one.bounds) { parts.push(page.path("interval", "M" + x(one.bounds[0]).toFixed(1) + " " + y(i) + "H" + x(one.bounds[1]).toFixed(1))); }
      parts.push(page.draw("circle", { "class": "own", cx: x(one.at).toFixed(1), cy: y(i), r: 4.5 }));
    });
    bars.forEach(function (bar) {
      var place = left + wide + 26 + 16 * bar.at;
      parts.push(page.path("bar", "M" + place + " " + (y(bar.from) - 8) + "V" + (y(bar.to) + 8)),
        page.words(place + 4, y(bar.from) + 3, bar.label, "small"));
    });
    return page.figure(key, Math.round(left) + wide + 60 + 16 * COLUMNS, bottom + 12, title, about, parts);
  }

  function ticksOf(from, to) {
    var step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find(function (one) { return (to - from) / one <= 6; }) || 20, found = [];
    var first = Math.floor(from / step + 1e-9), last = Math.ceil(to / step - 1e-9);
    for (var i = first; i <= Math.max(last, first + 1); i += 1) { found.push(i * step); }
    return { from: found[0], to: found[found.length - 1], ticks: found };
  }

  function groups(of) {
    var bars = [], ends = [].concat.apply([], chosen.map(function (one) { return one.interval; }));
    chosen.forEach(function (one, i) {
      var last = bars[bars.length - 1];
      if (last && last.label === String(one.group)) { last.to = i; }
      else { bars.push({ from: i, to: i, at: 0, label: String(one.group) }); }
    });
    var axis = ticksOf(Math.min.apply(null, ends), Math.max.apply(null, ends));
    axis.say = function (value) { return String(Math.round(100 * value)); };
    var lines = chosen.map(function (one) { return { label: one.label, at: one.mean, bounds: one.interval }; });
    var box = make("div", {}, [diagram("d-groups", "Rank groups of " + of.title, "Means \u00d7 100 with 95 % intervals. A bar at the right joins a rank "
      + "group, with its number: computed over all lines of the ranking when the page was made.", lines, axis, bars),
    page.table("cap-chosen", "The lines of the figure.", [["Line"], ["Group", 1], ["Mean", 1], ["Interval", 1]], chosen.map(function (one) {
      return [one.label, one.group, one.said[0], one.said[1] + "\u2013" + one.said[2]];
    }))]);
    return box;
  }

  function meanRanks(of) {
    var table = of.tasks.map(function (_, task) { return chosen.map(function (one) { return t.mean(one.values[task]); }); });
    var found = t.friedman(table), order = found.means.map(function (_, i) { return i; });
    order.sort(function (i, j) { return found.means[i] - found.means[j] || i - j; });
    var lines = order.map(function (i) { return { label: chosen[i].label, at: found.means[i] }; }), bars = [], reach = -1;
    lines.forEach(function (one, i) { // the longest runs of lines within the critical difference, none inside another
      var last = i;
      while (last + 1 < lines.length && lines[last + 1].at - one.at < found.critical) { last += 1; }
      if (last > i && last > reach) { bars.push({ from: i, to: last, at: bars.length % COLUMNS, label: "" }); reach = last; }
    });
    var axis = ticksOf(lines[0].at, lines[lines.length - 1].at);
    axis.say = function (value) { return String(Math.round(100 * value) / 100); };
    own.ranks = found;
    var about = "Over " + found.tasks + " tasks: Friedman with Iman and Davenport\u2019s F: p " + say.p(found.p) + "; critical difference of mean ranks "
      + found.critical.toFixed(2) + " (Nemenyi, 0.05). A bar joins lines that are nearer than that"
      + (found.p < t.ALPHA ? "." : "; as the test finds no difference at all, read nothing into the order.")
      + " With so few tasks only large differences show, and the ranks depend on the lines chosen.";
    return make("div", {}, [make("h2", { id: "ranks" }, "Mean ranks over the tasks"),
      diagram("d-ranks", "Mean ranks of " + of.title, about, lines, axis, bars),
      page.table("cap-ranks", "The mean ranks of the figure; 1 is the best.", [["Line"], ["Mean rank", 1]], lines.map(function (one) {
        return [one.label, one.at.toFixed(2)];
      }))]);
  }

  /* -- start ---------------------------------------------------------------------------------------------------------- */

  function read() {
    var given = own.address();
    if (!given) { return; }
    state.of = given.get("of") || "";
    state.lines = given.get("lines") || "";
    state.test = given.get("test") === "flips" ? "flips" : "";
    start();
  }

  rankings.forEach(function (one) { form.elements.of.appendChild(make("option", { value: one.key }, one.title)); });
  form.hidden = false;
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("change", function (event) {
    var field = event.target;
    if (field.name === "of") { own.go({ of: field.value, test: state.test }); }
    if (field.name === "test") { own.go({ of: state.of, lines: state.lines, test: field.value }); }
    if (field.name === "best" && field.value) { go(rows.slice(0, Number(field.value))); }
  });
  window.addEventListener("hashchange", read);
  read();
}());
