"""The documentation site: `make docs` builds the pages of this folder, the command line and the Python face."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import click
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
FILES_OF_THE_ROOT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "security-policy": "SECURITY.md"}
"""Pages of the site that are files beside docs/; there is a line in docs/ for each, which a code host shows."""

project = "exabench"
author = "The exabench developers"
copyright = "The exabench developers"
release = importlib.metadata.version("exabench")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4

# Docstrings and the help of commands write code between single backticks, as Markdown does.
default_role = "code"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "exabench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
templates_path = ["_templates"]
html_copy_source = False
html_show_sphinx = False


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Make links that work on a code host work on the site, and pages of the files beside docs/."""
    if page in FILES_OF_THE_ROOT:
        text = (ROOT / FILES_OF_THE_ROOT[page]).read_text(encoding="utf-8")
        source[0] = re.sub(r"\]\(docs/", "](", text)
    place = "../" * page.count("/")
    for name, file in {"index": "README.md", **FILES_OF_THE_ROOT}.items():
        source[0] = re.sub(rf"\]\((\.\./)*{file}", f"]({place}{name}.md", source[0])


def mark_examples(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Show the indented lines of a docstring as code: they are examples and drawings."""
    shown: list[str] = []
    before = ""
    for line in lines:
        if line.startswith("    ") and not before.strip() and "::" not in shown[-2:]:
            shown += ["::", ""]
        shown.append(line)
        before = line
    lines[:] = shown


def show_examples(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Show the examples of a command, which are no part of click's own commands."""
    examples = getattr(context.command, "examples", ())
    if examples:
        lines += [
            ".. rubric:: Examples",
            "",
            ".. code-block:: bash",
            "",
            *(f"   {example}" for example in examples),
            "",
        ]


FOR_SCREEN_READERS = [
    (r'role="heading">', 'role="heading" aria-level="2">'),
    (r'<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Pages">'),
    (r'<aside class="toc-drawer', '<aside aria-label="On this page" class="toc-drawer'),
    # What is wider than the screen is scrolled with the keyboard, too.
    (r"<pre>", '<pre tabindex="0">'),
    (r'<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    # The corner of a table whose first column needs no name.
    (r'<th class="head"><p></p></th>', "<td></td>"),
    # A list of definitions without terms: the lines of a long signature.
    (r"<dl>\s*((?:<dd><em class=.sig-param.*?</dd>\s*)+)</dl>", r'<span class="sig-lines">\1</span>'),
    (r"<dd>(<em class=.sig-param.*?)</dd>", r'<span class="sig-line">\1</span>'),
]
"""What the theme and Sphinx write, and what axe-core asks for; none of these changes anything twice."""


def mend_pages(app: Sphinx, error: Exception | None) -> None:
    """Make the pages of the theme accessible."""
    if error is not None or app.builder.format != "html":
        return
    for file in Path(app.outdir).rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        mended = text
        for pattern, replacement in FOR_SCREEN_READERS:
            mended = re.sub(pattern, replacement, mended)
        if mended != text:
            file.write_text(mended, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", mark_examples)
    app.connect("sphinx-click-process-epilog", show_examples)
    app.connect("build-finished", mend_pages)
