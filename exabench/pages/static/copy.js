/* A button behind every command and entry that is worth copying. Without scripts they are text to be selected. */
(function () {
  "use strict";

  function copied(text, then) {
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(function () { then(true); }, function () { then(byHand(text)); });
    } else { then(byHand(text)); }
  }

  function byHand(text) { // where the page may not write to the clipboard itself, as from some folders
    var field = document.createElement("textarea"), before = document.activeElement, done = false;
    field.value = text;
    field.setAttribute("readonly", "");
    field.className = "aside";
    document.body.appendChild(field);
    field.select();
    try { done = document.execCommand("copy"); } catch (error) { done = false; }
    field.remove();
    if (before) { before.focus(); }
    return done;
  }

  Array.prototype.forEach.call(document.querySelectorAll(".copied"), function (source) {
    var button = document.createElement("button"), told = document.createElement("span");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + source.textContent.trim().split("\n")[0].slice(0, 80));
    told.className = "soft";
    told.setAttribute("role", "status");
    button.addEventListener("click", function () {
      copied(source.textContent.trim() + "\n", function (done) { told.textContent = done ? "copied" : "select the text and copy it"; });
    });
    source.after(" ", button, " ", told);
  });
}());
