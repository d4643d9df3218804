/* The lines of the board, for the pages that compare them, and a field to pick one by its words. */
(() => {
  "use strict";

  const exabench = window.exabench, { el, say } = exabench;
  const MATCHES = 50;
  let data = null;

  exabench.lines = (given) => { data = given; };

  /* Every line as {key, label, slug, lists: [[task, candidates], ...]}. A submission over several candidate lists
     has a line more, over all of them. */
  exabench.board = () => {
    if (!data) { return null; }
    const every = new Map();
    const made = data.lines.map(([slug, name, candidates, set]) => {
      const lists = data.sets[set].map((task) => [task, candidates]), first = name.endsWith(" (first stage)");
      const label = first ? `first stage: ${candidates.replace(/-\d+$/, "")}` : name; // as on other pages
      every.set(slug, [...every.get(slug) || [], { name, lists }]);
      return { key: `${slug}.${candidates}`, label: `${label} over ${candidates}`, slug, lists };
    });
    for (const [slug, lines] of every) {
      if (lines.length > 1) {
        made.push({ key: slug, label: `${lines[0].name} over every list`, slug, lists: lines.flatMap(({ lists }) => lists) });
      }
    }
    made.forEach((line) => { line.text = `${line.label} ${line.slug}`.toLowerCase(); });
    return { ...data, lines: made, byKey: new Map(made.map((line) => [line.key, line])) };
  };

  /* A text field that opens a list of the lines that hold its words. Calls `chosen(line)`; returns {show, lines}. */
  exabench.picker = (field, list, chosen) => {
    let lines = [], found = [], at = -1, now = null;

    const option = (text, given) => el("li", { role: "option", "aria-selected": "false", ...given }, text);

    function open() {
      const wanted = now && field.value === now.label ? [] : field.value.toLowerCase().split(/\s+/);
      const all = lines.filter((line) => wanted.every((word) => line.text.includes(word)));
      found = all.slice(0, MATCHES);
      at = -1;
      list.replaceChildren(...found.map((line, i) => option(line.label, { id: `${list.id}-${i}` })));
      const rest = all.length - found.length;
      if (rest || !found.length) {
        list.append(option(rest ? `${say.count(rest)} more: type more words` : "no system has these words",
          { "aria-disabled": "true", class: "soft" }));
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
      list.children[at]?.setAttribute("aria-selected", "false");
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
    field.addEventListener("click", () => { field.select(); open(); });
    field.addEventListener("blur", () => { close(); show(now); });
    const keys = {
      ArrowDown: () => move(at + 1), ArrowUp: () => move(at < 0 ? found.length - 1 : at - 1), Escape: () => { close(); show(now); },
      Enter: () => { if (!list.hidden && found.length) { take(found[Math.max(0, at)]); } }
    };
    field.addEventListener("keydown", (event) => { if (keys[event.key]) { keys[event.key](); event.preventDefault(); } });
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", (event) => {
      const line = found[[...list.children].indexOf(event.target.closest("li"))];
      if (line) { take(line); }
    });
    return { show, lines: (given) => { lines = given; } };
  };
})();
