"""What MkDocs cannot do by itself: pages made from the source, and links of the pages into the repository."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import configuration
import names

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)(metaexp|conf|benchmarks|tests|examples|scripts)(/[^)#\s]*)?\)")
_EXAMPLE = re.compile(r"\((examples/[\w-]+/)README\.md\)")
_UP = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)(?:README|CONTRIBUTING|CHANGELOG|LICENSE)[\w.]*(?:#[\w-]*)?\)")
_CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
_TAG_OR_TEXT = re.compile(r"<[^>]*>|[^<]+")
_LONG_NAME = re.compile(r"[\w.=/-]{16,}")
_RULE = re.compile(r"^\|(?:[ :-]+\|){2,}$", re.MULTILINE)
_WIDE = 12
"""A table of so many columns leaves no room for a list of headings beside it."""
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each room of the package, and the reference of all configuration keys."""
    for room in sorted(path.parent for path in (ROOT / "metaexp").glob("*/__init__.py")):
        text = _api_page(room)
        files.append(File.generated(config, f"reference/{room.name}.md", content=text))
    files.append(File.generated(config, "reference/api.md", content=names.page()))
    text = configuration.page(ROOT / "conf")
    files.append(File.generated(config, "reference/configuration.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links into the repository to the pages of the reference, and give a very wide table the whole page."""
    if _has_wide_table(markdown):
        page.meta["hide"] = ["toc"]
    depth = page.file.src_uri.count("/")
    markdown = _LINK.sub(lambda match: _target(match, depth), markdown)
    markdown = _EXAMPLE.sub(r"(\1index.html)", markdown)
    return _UP.sub(lambda match: match[1] if match[2].count("/") > depth else match[0], markdown)  # no page of the site


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn equations into MathML, which browsers show without a script, and let long names in tables break."""
    content = _EQUATION.sub(lambda match: _equation(match[1], html.unescape(match[2]).strip()), content)
    return _CELL.sub(lambda cell: _TAG_OR_TEXT.sub(_with_breaks, cell[0]), content)


def _has_wide_table(markdown: str) -> bool:
    return any(rule.count("|") > _WIDE for rule in _RULE.findall(markdown))


def _with_breaks(part: re.Match[str]) -> str:
    """The tag as it is; the text with ``<wbr>`` in its long names, so that a line may end there and nowhere else."""
    if part[0].startswith("<"):
        return part[0]
    return _LONG_NAME.sub(lambda name: re.sub(r"(?<=\w)[_./=](?=\w)", r"\g<0><wbr>", name[0]), part[0])


def _equation(tag: str, latex: str) -> str:
    return f"<{tag}>{convert(latex, display='block' if tag == 'div' else 'inline')}</{tag}>"


def _api_page(room: Path) -> str:
    modules = sorted(path for path in room.rglob("*.py") if not path.name.startswith("_"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    summary = (room / "__init__.py").read_text("utf-8").split('"""')[1].splitlines()[0]
    parts = [f"# metaexp.{room.name}\n\n{summary}\n", *(f"::: {name}\n" for name in names)]
    return "\n".join(parts)


def _target(match: re.Match[str], depth: int) -> str:
    """The link, as the site has it: a module's entry, a room's page, the configuration; else the path as code."""
    text, top, rest = match[1], match[3], (match[4] or "").strip("/")
    up = "../" * depth
    if top == "conf":
        return f"[{text}]({up}reference/configuration.md)"
    if top == "metaexp" and rest.endswith(".py") and "/" in rest:
        return f"[{text}][metaexp.{rest.removesuffix('.py').replace('/', '.')}]"
    if top == "metaexp" and rest:
        return f"[{text}]({up}reference/{rest.partition('/')[0]}.md)"
    path = f"{top}/{rest}".rstrip("/")
    if text.strip("`") == Path(path).name:
        return f"`{path}`"
    return text if path in text else f"{text} (`{path}`)"
