"""`board init` makes a leaderboard whose files explain themselves, and pages say what board.toml says, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toys import toml

from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.files import read_toml

COMMIT = "0123456789" * 4
SOURCE = f"git+https://example.org/exabench@{COMMIT}"
ABOUT = {
    "description": 'Rerankers for "our" questions, over one list.',
    "source": "https://example.org/our/board",
    "contact": "keeper@example.org",
    "citation": "@misc{ours,\n  title = {Our board},\n}",
    "licence": "cc-by-4.0",
    "url": "https://example.org/pages/",
}
NO_PLACES = (
    "https://example.org/pages?page=",
    "https://example.org/#pages",
    "https://us:secret@example.org",
    "https://example.org:65536/pages",
    "https://example.org:0",
    "https://example..org",
    "https://-example.org",
    "https://example.org/100%",
)
LINE = len("# ")


def init(board: Path, *words: str) -> int:
    return main(["board", "init", "--board", str(board), *words])


def filled(board: Path, *words: str) -> Path:
    assert init(board, "--install", SOURCE, "--space", "our/pages", *words) == 0
    return board


def page_of(board: Path, name: str = "index.html") -> str:
    render(Board.read(board), board / "site")
    return (board / "site" / name).read_text(encoding="utf-8")


def test_a_new_board_explains_every_key_and_its_examples_are_good_values(tmp_path: Path) -> None:
    board = filled(tmp_path / "board", "--title", "Ours", "--task", "mini")
    text = (board / "board.toml").read_text()
    assert read_toml(board / "board.toml") == {"title": "Ours", "tasks": ["mini"]}
    # What is a comment because it was not given becomes a setting when the comment sign goes.
    lines = []
    for line in text.splitlines():
        is_example = re.match(r'# (\w+ = |\[views\]|"Science")', line)
        lines.append(line[LINE:] if is_example else line)
    (board / "board.toml").write_text("\n".join(lines))
    values = read_toml(board / "board.toml")
    assert set(values) == {"title", "tasks", *ABOUT, "views"}
    assert main(["board", "check", "--board", str(board)]) == 0
    read = Board.read(board)
    assert read.citation == values["citation"] and list(read.views) == ["Science"]


def test_what_init_is_told_stands_in_board_toml(tmp_path: Path) -> None:
    words = []
    for name, value in ABOUT.items():
        if name != "citation":
            words += [f"--{name}", value]
    board = filled(tmp_path / "board", *words)
    read = Board.read(board)
    assert {name: getattr(read, name) for name in ABOUT} == {**ABOUT, "citation": ""}
    assert main(["board", "check", "--board", str(board)]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--contact", "nobody"], "contact must be an e-mail address, an @handle or an https:// address, not 'nobody'"),
        (["--source", "git@github.com:our/board"], "source must be an https:// address"),
        (["--licence", "as you like"], "licence must be an SPDX identifier"),
        (["--title", "x" * 201], "must have at most 200 characters"),
        (["--space", "ours"], "a Space is named owner/name, not 'ours'"),
        (["--install", "exabench"], "must be installed from git+https://...@COMMIT"),
        (["--install", "git+https://example.org/exabench@main"], "must be installed from git+https://...@COMMIT"),
        (["--task", "scifcat"], "did you mean scifact"),
        (["--title", " "], "must be text on one line and not blank"),
        (["--title", "half a pair: \udc80"], "must be text on one line"),
    ],
)
def test_a_value_that_does_not_fit_is_one_line_and_leaves_no_board(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path / "board", *words) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"licence": "as you like", "url": "ftp://x"}, "licence must be an SPDX .*; url must be an https:// address"),
        ({"citation": "Ours, 2026"}, "citation must be one BibTeX entry"),
        ({"description": "a\nb"}, "description must be text on one line"),
        ({"contct": "@us"}, "has an unknown key 'contct'; did you mean contact"),
        ({"license": "mit", "licence": "isc"}, "licence and license disagree"),
        ({"url": 3}, "url: expected `str`, got `int`"),
        ({"tasks": ["mini"] * 1001}, "must name at most 1000 tasks, not 1001"),
        ({"views": {f"v{i}": ["mini"] for i in range(101)}}, "views must be at most 100, not 101"),
        ({"views": {"Science": []}}, "view 'Science' must name a task"),
        ({"views": {"Science": ["mini", "scifact"]}}, "view 'Science' names scifact, .* choose from: mini; or add it"),
        ({"views": {"Forums": ["cqadupstack"]}}, "view 'Forums' names cqadupstack, which is not a task of this board"),
        *(({"url": url}, "url must be an https:// address without user name, [?] or #") for url in NO_PLACES),
        ({"views": {" ": ["mini"]}}, "title ' ' must be text on one line and not blank"),
        ({"views": {"A B": ["mini"], "a-b": ["mini"]}}, "two views of the board would be named a-b"),
        ({"views": {"All tasks!": ["mini"]}}, "two views of the board would be named all-tasks"),
        ({"description": "x" * 70000}, "files of up to 65,536 bytes are read"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    changes: dict[str, object], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "board.toml").write_text(toml({"title": "T", "tasks": ["mini"], **changes}))
    assert main(["board", "check", "--board", str(tmp_path)]) == 1
    found = capsys.readouterr().out
    assert re.search(says, found) and found.count("\n") == 1
    assert main(["board", "build", "--board", str(tmp_path)]) == 2


def test_views_may_have_titles_in_any_script(tmp_path: Path) -> None:
    board = filled(tmp_path / "board")
    with (board / "board.toml").open("a", encoding="utf-8") as file:
        file.write('[views]\n"日本語" = ["mini"]\n"中文" = ["mini"]\n')
    assert [one.title for one in Board.read(board).rankings] == ["日本語", "中文", "All tasks"]
    assert "中文" in page_of(board, "views/view-2.html")


@pytest.mark.parametrize("name", ["rebuild.yml", "submissions/README.md", "submissions"])
def test_init_overwrites_no_file_that_somebody_wrote(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "board" / name
    file.parent.mkdir(parents=True)
    file.write_text("Mine.")
    assert init(tmp_path / "board") == 2
    said = capsys.readouterr().err
    assert f"{file}: " in said and said.count("\n") == 1
    assert file.read_text() == "Mine." and not (tmp_path / "board" / "board.toml").exists()


def test_pages_show_what_is_given_and_leave_no_empty_place(tmp_path: Path) -> None:
    board = filled(tmp_path / "board")
    bare = page_of(board, "about.html")
    for sign in ("Source of this board", "Contact", "How to cite", "og:url", "canonical", "This board"):
        assert sign not in bare
    assert '<meta property="og:title" content="About the numbers – My leaderboard">' in bare
    (board / "board.toml").write_text(toml({"title": "T", "tasks": ["mini"], **ABOUT}))
    about = page_of(board, "about.html")
    assert '<a href="https://example.org/our/board">Source of this board</a>' in about
    assert '<a href="mailto:keeper@example.org">' in about
    assert "@misc{ours,\n  title = {Our board},\n}" in about
    assert '<link rel="canonical" href="https://example.org/pages/about.html">' in about
    start = page_of(board)
    assert '<meta property="og:url" content="https://example.org/pages/">' in start
    escaped = "Rerankers for &#34;our&#34; questions, over one list."
    assert f'<meta name="description" content="{escaped}">' in start
    assert f'<meta property="og:description" content="{escaped}">' in start
    assert "cc-by-4.0" in start


def test_every_page_says_what_it_is_where_links_are_shared(board: Path) -> None:
    render(Board.read(board), board / "site")
    described = {}
    for file in (board / "site").rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        [name] = re.findall(r'<meta name="description" content="([^"]+)">', text)
        [shared] = re.findall(r'<meta property="og:description" content="([^"]+)">', text)
        [title] = re.findall(r'<meta property="og:title" content="([^"]+)">', text)
        assert name == shared and f"<title>{title}</title>" in text
        assert name != title
        described[file.name] = name
    assert len(set(described.values())) == len(described)


def test_a_workflow_is_refused_until_it_says_where_exabench_and_its_space_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board"
    check = ["board", "check", "--board", str(board)]
    assert init(board) == 0
    assert "rebuild.yml: line" in capsys.readouterr().err  # said when it is made, too
    workflow = board / "rebuild.yml"
    before = workflow.read_text()
    assert main(check) == 1
    found = capsys.readouterr().out
    assert "in place of PLACEHOLDER_SOURCE: git+https://" in found and "in place of PLACEHOLDER_SPACE" in found
    filled_in = before.replace("PLACEHOLDER_SPACE", "our/pages")
    for source, says in (
        ("exabench", "exabench is not this project on PyPI"),
        ("exabench[models]==0.2", "is not this project on PyPI"),
        ("git+https://example.org/exabench@main", "is not pinned"),
        ("exabench @ git+https://example.org/exabench", "is not pinned"),
        (SOURCE, ""),
        (f"exabench[bench] @ {SOURCE}", ""),
        (f"exabench[models] @ {SOURCE}", ""),
        ("https://example.org/exabench-0.2-py3-none-any.whl", ""),
    ):
        workflow.write_text(filled_in.replace("PLACEHOLDER_SOURCE", source))
        assert main(check) == bool(says), source
        assert says in capsys.readouterr().out
    workflow.write_text(before)
    workflow.unlink()
    assert main(check) == 0


def test_no_file_tells_anybody_to_install_exabench_by_its_name() -> None:
    """The name is nobody's on PyPI: whoever takes it could run anything there."""
    root = Path(__file__).parents[1]
    by_name = re.compile(r"""install (-\S+ )*['"]?exabench(\[\w+\])?+['"]?+($|[^\w/@ -])""")
    files = [*root.glob("*.md"), root / "Makefile", root / "pyproject.toml"]
    for folder in ("exabench", "docs", "dataset_cards", "leaderboard"):
        for kind in ("py", "md", "html", "toml", "yml"):
            files += (root / folder).rglob(f"*.{kind}")
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not by_name.search(line), f"{file}: {line}"
    assert by_name.search("run: pip install exabench") and by_name.search("pip install 'exabench[models]'")
