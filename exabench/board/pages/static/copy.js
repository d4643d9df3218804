/* A button behind every command and entry that is worth copying. Without scripts they are text to be selected. */
(() => {
  "use strict";

  const { el } = window.exabench;

  for (const source of document.querySelectorAll(".copied")) {
    const text = source.textContent.trim(), told = el("span", { class: "soft", role: "status" });
    const button = el("button", { type: "button", class: "copy", "aria-label": `Copy: ${text.split("\n")[0].slice(0, 80)}` }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(`${text}\n`);
        told.textContent = "copied";
      } catch { told.textContent = "select the text and copy it"; } // a page may not be allowed to
    });
    source.after(" ", button, " ", told);
  }
})();
