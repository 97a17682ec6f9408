# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every example of README.md, CONTRIBUTING.md, docs/ and docstrings runs; every command that they show is understood.

The Python blocks of a page share their names, in order. A block after ``<!-- example: not run -->`` is only parsed and
what it imports is looked up. ``page_setup.py`` says what a page's blocks find when they begin.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import page_setup
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("mirage", "mirage_kernels")
    for path in ROOT.glob(f"{package}/**/*.py")
    if ">>> " in path.read_text()
)
NOT_RUN = "<!-- example: not run -->"


class Block(NamedTuple):
    """A fenced block of a page and its first line."""

    language: str
    text: str
    line: int
    runs: bool


def blocks_of(page: Path) -> list[Block]:
    found, lines, begin = [], page.read_text().splitlines(), None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if begin is None:
            begin = number
            continue
        text = "\n".join(lines[begin + 1 : number]) + "\n"
        before = next((other for other in reversed(lines[:begin]) if other.strip()), "")
        language = (lines[begin].removeprefix("```").split() or [""])[0]
        found.append(Block(language, text, begin + 2, before.strip() != NOT_RUN))
        begin = None
    assert begin is None, f"{page}: a fence is not closed"
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_blocks(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(block.language in languages for block in blocks_of(page))]


def compile_block(page: Path, block: Block) -> Any:
    """The block's code, whose tracebacks name the line of the page."""
    return compile("\n" * (block.line - 1) + block.text, str(page), "exec")


@pytest.mark.parametrize("page", with_blocks("python", "{doctest}"), ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"} | page_setup.names_for(name_of(page), monkeypatch)
    for block in blocks_of(page):
        if block.language == "{doctest}":
            run_doctest(page, block, names)
        elif block.language == "python" and block.runs:
            exec(compile_block(page, block), names)
        elif block.language == "python":
            look_up_imports(ast.parse(block.text))


def run_doctest(page: Path, block: Block, names: dict[str, Any]) -> None:
    example = doctest.DocTestParser().get_doctest(block.text, names, name_of(page), str(page), block.line - 1)
    runner, report = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    runner.run(example, out=report.append, clear_globs=False)
    names.update(example.globs)
    assert not runner.failures, "".join(report)


def look_up_imports(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed


def commands_of(page: Path) -> list[str]:
    shell = "\n".join(block.text for block in blocks_of(page) if block.language in ("", "bash", "console"))
    return [line.strip() for line in shell.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("page", with_blocks("bash"), ids=name_of)
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    build_parser = page_setup.cli_parser()
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands_of(page):
        words = shlex.split(line, comments=True)
        if words[:1] == ["mirage"]:
            build_parser().parse_args(words[1:])
        elif words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, line
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]) is not None, line


def test_options_that_pages_name_exist() -> None:
    """Every option in backquotes must be an option of a command of `mirage`, or one of pip's."""
    options = page_setup.command_options() | {"--index-url", "--no-build-isolation", "--no-cache-dir", "--no-deps"}
    for page in PAGES:
        for name in re.findall(r"`(--[a-z-]+)", page.read_text()):
            assert name in options, f"{page}: {name}"


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert name in targets, f"{page}: make {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|#", target):
            continue
        assert (page.parent / target.split("#")[0]).exists(), f"{page}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_one_version() -> None:
    version = importlib.import_module("mirage_kernels").__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    releases = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == version


@pytest.mark.parametrize(
    ("broken", "error"),
    [("x = 1\nassert x == 2\n", AssertionError), ("import mirage_kernels.nothing\n", ModuleNotFoundError)],
)
def test_a_broken_example_is_noticed(broken: str, error: type[Exception], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```python\n{broken}```\n")
    (block,) = blocks_of(page)
    with pytest.raises(error):
        exec(compile_block(page, block), {})


def test_a_block_that_does_not_run_is_still_looked_up(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{NOT_RUN}\n\n```python\nfrom mirage_kernels import nothing\nunknown()\n```\n")
    (block,) = blocks_of(page)
    assert not block.runs
    with pytest.raises(AssertionError, match="mirage_kernels has no nothing"):
        look_up_imports(ast.parse(block.text))
