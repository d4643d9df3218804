/* Compare two lines of the board query by query. All state is in the address: #a=LINE&b=LINE&task=TASK.CANDIDATES */
(function () {
  "use strict";

  var own = window.exabench, board = own && own.board();
  var form = document.getElementById("compare"), out = document.getElementById("compared");
  if (!board || !form || !out) { return; }

  var t = own.paired, page = own.page, say = own.say, make = page.make;
  var status = document.getElementById("status"), EXTREMES = 10, DRAWN = 720, LISTED = 2000;
  var state = { a: "", b: "", task: "" }, turn = 0, done = null;
  var fields = {};
  ["a", "b"].forEach(function (side) {
    fields[side] = own.picker(form.elements[side], document.getElementById(side + "-list"), function (line) {
      own.go({ a: side === "a" ? line.key : state.a, b: side === "b" ? line.key : state.b });
    });
    fields[side].lines(board.lines);
  });

  /* -- what can be compared ----------------------------------------------------------------------------------- */

  /* The tasks that both lines have, over one candidate list, and those of which one cannot say who is better. */
  function paired(a, b) {
    var found = [], refused = [], tasks = new Set();
    a.lists.concat(b.lists).forEach(function (list) { tasks.add(list[0]); });
    board.singles.forEach(function (task) {
      if (!tasks.has(task)) { return; }
      var mine = over(a, task), others = over(b, task);
      var both = mine.filter(function (name) { return others.indexOf(name) >= 0; });
      both.forEach(function (name) { found.push({ task: task, candidates: name }); });
      if (!both.length) { refused.push({ task: task, why: lacking(mine, others) }); }
    });
    return { found: found, refused: refused };
  }

  function over(line, task) {
    return line.lists.filter(function (list) { return list[0] === task; }).map(function (list) { return list[1]; });
  }

  function lacking(mine, others) {
    if (!mine.length) { return "A has no result"; }
    if (!others.length) { return "B has no result"; }
    return "other candidates: A reranked " + mine.join(", ") + ", B " + others.join(", ");
  }

  /* Why two vectors cannot be compared, or nothing. */
  function unlike(a, b) {
    var parts = [["metric", "another metric: A has " + a.metric + ", B " + b.metric],
      ["candidates", "two lists of one name: A and B reranked other candidates"], ["qrels", "other judgements"],
      ["convention", "another convention (gain, relevance or self-matches)"], ["queries", "other queries"]];
    var found = parts.find(function (part) { return a[part[0]] !== b[part[0]]; });
    if (found) { return found[1]; }
    var short = a.missing ? ["A", a] : b.missing ? ["B", b] : null;
    return short && short[0] + " lacks " + say.count(short[1].missing) + " of " + say.count(short[1].at.length) + " queries";
  }

  function loaded(one, a, b) {
    function vector(line) { return own.files.vector(line.slug, one.task, one.candidates); }
    return Promise.all([vector(a), vector(b)]).then(function (both) {
      one.why = unlike(both[0], both[1]);
      one.a = both[0].all;
      one.b = both[1].all;
      one.metric = both[0].metric;
      return one;
    }, function (error) {
      one.why = "the values could not be loaded: " + error.message;
      return one;
    });
  }

  /* -- working it out ----------------------------------------------------------------------------------------- */

  function start() {
    var a = board.byKey.get(state.a), b = board.byKey.get(state.b), mine = turn += 1, key = state.a + " " + state.b;
    fields.a.show(a);
    fields.b.show(b);
    if (done && done.key === key) { show(); return; }
    done = null;
    out.textContent = "";
    if (!a || !b || a === b) {
      status.textContent = a && a === b ? "A and B are the same line: choose another." : unknown(a, b);
      return;
    }
    var pairs = paired(a, b);
    status.textContent = "Comparing on " + counted(pairs.found.length, "task") + " \u2026";
    Promise.all(pairs.found.map(function (one) { return loaded(one, a, b); })).then(function (all) {
      var fit = all.filter(function (one) { return !one.why; });
      stepwise(fit, function () {
        if (mine !== turn) { return; }
        done = { key: key, a: a, b: b, rows: fit, refused: all.filter(function (one) { return one.why; }).concat(pairs.refused) };
        corrected(fit);
        done.means = means(fit);
        own.compared = done;
        show();
      }, function () { return mine === turn; });
    });
  }

  function unknown(a, b) {
    if (board.lines.length < 2) { return "This board has fewer than two lines: there is nothing to compare yet."; }
    var lost = [!a && state.a, !b && state.b].filter(Boolean);
    return lost.length ? "Not on this board: " + lost.join(", ") + "." : "Choose two lines.";
  }

  /* One test at a time, so that the page never stands still for long. */
  function stepwise(rows, then, wanted) {
    var next = rows.find(function (one) { return !one.test; });
    if (!wanted()) { return; }
    if (!next) { then(); return; }
    next.test = t.pairedTest([next.a], [next.b], true);
    setTimeout(stepwise, 0, rows, then, wanted);
  }

  function corrected(rows) {
    var flips = t.holm(rows.map(function (one) { return one.test.randomisation; }));
    var students = t.holm(rows.map(function (one) { return one.test.t_test; }));
    rows.forEach(function (one, i) { one.p_holm = flips[i]; one.t_holm = students[i]; });
  }

  /* The mean over the board's tasks for each candidate list, every task of the same weight (CQADupStack is one). */
  function means(rows) {
    var names = Array.from(new Set(rows.map(function (one) { return one.candidates; }))).sort();
    return names.map(function (name) {
      var whole = board.tasks.map(function (task) {
        var members = task.members.length ? task.members : [task.name];
        var found = members.map(function (member) {
          return rows.find(function (one) { return one.task === member && one.candidates === name; });
        });
        return found.every(Boolean) ? { a: joined(found, "a"), b: joined(found, "b") } : null;
      }).filter(Boolean);
      var a = whole.map(function (one) { return one.a; }), b = whole.map(function (one) { return one.b; });
      return { candidates: name, tasks: whole.length, a: t.mean(a.map(t.mean)), b: t.mean(b.map(t.mean)),
        test: whole.length > 1 ? t.pairedTest(a, b, true) : null };
    }).filter(function (one) { return one.test; });
  }

  function joined(found, side) { return t.joined(found.map(function (one) { return one[side]; })); }

  /* -- showing it ----------------------------------------------------------------------------------------------- */

  function counted(number, what, many) { return say.count(number) + " " + (number === 1 ? what : many || what + "s"); }

  function verdict(one) {
    if (one.p_holm >= t.ALPHA) { return "cannot\u00a0tell"; }
    return one.test.difference > 0 ? "A is better" : "B is better";
  }

  function show() {
    var rows = done.rows, parts = [];
    var better = ["A is better", "B is better"].map(function (text) {
      return rows.filter(function (one) { return verdict(one) === text; }).length;
    });
    var lists = new Set(rows.map(function (one) { return one.candidates; })).size;
    status.textContent = rows.length ? "Compared on " + counted(rows.length, "task", lists > 1 && "tasks and lists") + ": A is better on " + better[0]
      + ", B on " + better[1] + ", " + (rows.length - better[0] - better[1]) + " without a difference that can be shown."
      : "A and B cannot be compared on any task.";
    if (rows.length) { parts.push(make("h2", { id: "tasks" }, "Task by task"), who(), overview(rows), forest(rows)); }
    if (done.refused.length) { parts.push(refused(done.refused)); }
    out.textContent = "";
    parts.forEach(function (part) { out.appendChild(part); });
    var chosen = rows.find(function (one) { return one.task + "." + one.candidates === state.task; }) || rows[0];
    if (chosen) { details(chosen); }
  }

  function who() {
    return make("p", {}, [make("b", {}, "A"), " is ", make("bdi", {}, done.a.label), ", ", make("b", {}, "B"), " is ",
      make("bdi", {}, done.b.label), "."]);
  }

  function name(one) { return one.task + " over " + one.candidates; }

  function link(one) {
    var given = new URLSearchParams({ a: state.a, b: state.b, task: one.task + "." + one.candidates });
    return make("a", { href: "#" + given.toString() }, one.task);
  }

  function between(interval) {
    return interval ? make("span", { "class": "between" }, say.signed(interval[0]) + " to " + say.signed(interval[1])) : "";
  }

  function numbers(one, said) {
    var test = one.test, none = "\u2013";
    return [say.score(one.a), say.score(one.b), [make("b", {}, say.signed(test.difference)), " ", between(test.interval)],
      said || none, say.p(test.randomisation), one.p_holm === undefined ? none : say.p(one.p_holm),
      say.p(test.t_test), one.t_holm === undefined ? none : say.p(one.t_holm), say.effect(test.effect_size),
      say.count(test.wins) + " / " + say.count(test.ties) + " / " + say.count(test.losses)];
  }

  function overview(rows) {
    var heads = [["Task"], ["Candidates"], ["Metric"], ["Queries", 1], ["A", 1], ["B", 1], ["A less B", 1],
      ["Verdict"], ["p, randomisation", 1], ["with Holm", 1], ["p, t-test", 1], ["with Holm", 1], ["Effect size", 1],
      ["A wins / ties / loses", 1]];
    var body = rows.map(function (one) {
      var shown = { a: t.mean(one.a), b: t.mean(one.b), test: one.test, p_holm: one.p_holm, t_holm: one.t_holm };
      return [link(one), one.candidates, one.metric, say.count(one.a.length)].concat(numbers(shown, verdict(one)));
    });
    done.means.forEach(function (one) {
      body.push(["Mean over " + one.tasks + " tasks", one.candidates, "", say.count(one.test.queries)].concat(numbers(one)));
    });
    return page.table("cap-tasks", "Differences are A less B, with 95 % t intervals. Holm\u2019s correction is over the "
      + counted(rows.length, "line") + " of this table" + (done.means.length ? ", means left out" : "") + ". The verdict is "
      + "the randomisation test\u2019s, with Holm, at 0.05: where it cannot tell, that does not make A and B equal. A task\u2019s name "
      + "shows its queries below.", heads, body);
  }

  function refused(rows) {
    var body = rows.map(function (one) { return [one.candidates ? name(one) : one.task, one.why]; });
    var box = make("div", {}, [make("h2", { id: "refused" }, "Not compared"),
      page.table("cap-refused", "Tasks without a comparison, and why: a number would be missing, or compare two different things.", [["Task"], ["Why"]], body)]);
    return box;
  }

  /* -- figures -------------------------------------------------------------------------------------------------- */

  /* A round step that divides `room` into at most five, and the largest value that it reaches. */
  function scale(room) {
    var steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
    var step = steps.find(function (one) { return room / one <= 5; }) || 0.2;
    return { step: step, end: Math.max(step, Math.ceil(room / step - 1e-9) * step) };
  }

  function ticks(axis) {
    var found = [];
    for (var i = -Math.round(axis.end / axis.step); i <= Math.round(axis.end / axis.step); i += 1) { found.push(i * axis.step); }
    return found;
  }

  function forest(rows) {
    var room = rows.map(function (one) { return Math.max.apply(null, (one.test.interval || [one.test.difference]).map(Math.abs)); });
    var axis = scale(Math.min(1, Math.max.apply(null, room))), left = 210, wide = 480, high = 26, top = 26;
    var bottom = top + high * rows.length, parts = [];
    function x(value) { return left + wide * (Math.max(-1, Math.min(1, value / axis.end)) + 1) / 2; }
    ticks(axis).forEach(function (tick) {
      parts.push(page.path(Math.abs(tick) < 1e-9 ? "axis" : "grid", "M" + x(tick).toFixed(1) + " " + (top - 8) + "V" + bottom),
        page.words(x(tick), bottom + 18, say.signed(tick).replace(".0", ""), "num mid"));
    });
    parts.push(page.words(left, 12, "B is better", "small"), page.words(left + wide, 12, "A is better", "small end"));
    rows.forEach(function (one, i) {
      var y = top + high * i + 12, bounds = one.test.interval || [one.test.difference, one.test.difference];
      parts.push(page.words(left - 12, y + 4, done.means.length > 1 ? name(one) : one.task, "lab end", 28),
        page.path("interval", "M" + x(bounds[0]).toFixed(1) + " " + y + "H" + x(bounds[1]).toFixed(1)),
        page.draw("circle", { "class": one.p_holm < t.ALPHA ? "own" : "hollow", cx: x(one.test.difference).toFixed(1), cy: y, r: 5 }));
    });
    return page.figure("forest", left + wide + 40, bottom + 30, "Difference on every task", "A less B in points, with 95 % t intervals. "
      + "Filled points are significant with Holm\u2019s correction. The numbers are in the table above.", parts);
  }

  function bars(one, order) {
    var n = order.length, drawn = order.map(function (i) { return one.a[i] - one.b[i]; }), left = 48, wide = 720, middle = 108, tall = 88;
    if (n > DRAWN) { drawn = Array.from({ length: DRAWN }, function (_, i) { return drawn[Math.floor(i * (n - 1) / (DRAWN - 1))]; }); }
    var each = wide / drawn.length, gap = Math.min(1, each / 5), shapes = { gain: "", loss: "" };
    var axis = scale(Math.max(Math.abs(drawn[0]), Math.abs(drawn[drawn.length - 1]))), parts = [];
    ticks(axis).forEach(function (tick) {
      var y = (middle - tall * tick / axis.end).toFixed(1);
      parts.push(page.path(Math.abs(tick) < 1e-9 ? "axis" : "grid", "M" + left + " " + y + "H" + (left + wide)),
        page.words(left - 8, Number(y) + 4, say.signed(tick).replace(".0", ""), "num end"));
    });
    drawn.forEach(function (value, i) {
      if (value) {
        shapes[value > 0 ? "gain" : "loss"] += "M" + (left + i * each).toFixed(2) + " " + middle + "v"
          + (-tall * value / axis.end).toFixed(2) + "h" + (each - gap).toFixed(2) + "V" + middle + "z";
      }
    });
    parts.push(page.path("gain", shapes.gain), page.path("loss", shapes.loss));
    return page.figure("wins", left + wide + 10, 2 * middle, "Wins and losses, query by query", counted(n, "query", "queries")
      + ", largest win of A left: A wins " + say.count(one.test.wins) + ", " + say.count(one.test.ties) + " ties, B wins "
      + say.count(one.test.losses) + ". Bars above the line are wins of A, below it wins of B, in points.", parts);
  }

  function scatter(one) {
    var left = 44, size = 320, top = 26, seen = new Map(), parts = [];
    function at(value) { return size * value; }
    for (var tick = 0; tick <= 4; tick += 1) {
      var place = at(tick / 4);
      parts.push(page.path("grid", "M" + left + " " + (top + place) + "h" + size + "M" + (left + place) + " " + top + "v" + size),
        page.words(left - 8, top + size - place + 4, String(25 * tick), "num end"),
        page.words(left + place, top + size + 18, String(25 * tick), "num mid"));
    }
    parts.push(page.path("axis", "M" + left + " " + (top + size) + "l" + size + " " + -size));
    for (var i = 0; i < one.a.length; i += 1) {
      var key = one.a[i].toFixed(2) + " " + one.b[i].toFixed(2);
      seen.set(key, (seen.get(key) || 0) + 1);
    }
    seen.forEach(function (count, key) {
      var pair = key.split(" ").map(Number), radius = Math.min(12, 2.2 + Math.sqrt(count));
      parts.push(page.draw("circle", { "class": "spot", cx: (left + at(pair[0])).toFixed(1), cy: (top + size - at(pair[1])).toFixed(1),
        r: radius.toFixed(1) }));
    });
    parts.push(page.words(left + size / 2, top + size + 36, one.metric + " of A \u00d7 100", "small mid"),
      page.words(left, top - 12, one.metric + " of B \u00d7 100 upwards", "small"));
    return page.figure("scatter", left + size + 16, top + size + 46, "A and B on every query", "A to the right, B upwards: A wins below the "
      + "line, B above it. A larger spot is more queries at one place. The values are in the tables below.", parts);
  }

  /* -- one task, query by query ------------------------------------------------------------------------------------ */

  function details(one) {
    var order = Array.from(one.a, function (_, i) { return i; }).sort(function (i, j) {
      return (one.a[j] - one.b[j]) - (one.a[i] - one.b[i]) || i - j;
    });
    var box = make("section", { "aria-labelledby": "queries" }, [make("h2", { id: "queries" }, name(one) + ", query by query"),
      bars(one, order), scatter(one)]);
    out.appendChild(box);
    own.files.queries(one.task, one.candidates).then(function (list) { return list.ids; }, function () { return null; })
      .then(function (ids) { if (box.isConnected) { swings(box, one, order, ids); } });
  }

  function swings(box, one, order, ids) {
    var win = order.filter(function (i) { return one.a[i] > one.b[i]; }).slice(0, EXTREMES);
    var loss = order.filter(function (i) { return one.a[i] < one.b[i]; }).reverse().slice(0, EXTREMES);
    box.appendChild(make("div", { "class": "pair" }, [queries(one, ids, "cap-wins", "The largest wins of A.", win),
      queries(one, ids, "cap-losses", "The largest wins of B.", loss)]));
    var all = make("details", {}, make("summary", {}, "All queries, largest win of A first"));
    all.addEventListener("toggle", function () {
      if (all.open && all.children.length === 1) {
        var rest = order.length > LISTED ? " The first " + LISTED + " of " + say.count(order.length) + "." : "";
        all.appendChild(queries(one, ids, "cap-all", "Every query and its two values." + rest, order.slice(0, LISTED)));
      }
    });
    box.appendChild(all);
  }

  function queries(one, ids, key, caption, places) {
    if (!places.length) { return make("p", { "class": "soft" }, caption.replace(/^The largest wins of (.)\.$/, "$1 wins no query.")); }
    return page.table(key, caption, [["Query"], ["A", 1], ["B", 1], ["A less B", 1], ["Rankings"]], places.map(function (i) {
      var id = ids ? ids[i] : "number " + (i + 1);
      return [make("bdi", {}, id), say.score(one.a[i]), say.score(one.b[i]), say.signed(one.a[i] - one.b[i]),
        [ranking("A", done.a, one, ids && id), " \u00b7 ", ranking("B", done.b, one, ids && id)]];
    }));
  }

  function ranking(side, line, one, id) {
    var to = "results/" + line.slug + "/" + one.task + "." + one.candidates + ".html";
    return make("a", { href: to + (id ? "#query=" + encodeURIComponent(id) : "") }, "of " + side);
  }

  /* -- start --------------------------------------------------------------------------------------------------------- */

  function read() {
    var given = own.address();
    if (!given) { return; }
    ["a", "b", "task"].forEach(function (key) { state[key] = given.get(key) || ""; });
    start();
  }

  form.hidden = false;
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  document.getElementById("swap").addEventListener("click", function () { own.go({ a: state.b, b: state.a, task: state.task }); });
  window.addEventListener("hashchange", read);
  read();
}());
