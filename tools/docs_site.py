"""MkDocs' hooks: pages of the repository's root on the site, and links between pages and the rest of the repository.

README, CONTRIBUTING and CHANGELOG lie outside `docs/`, where people look for them, and become pages here. A link to a
file that is no page, such as a module, becomes the file's path in the repository.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the root's pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links to where their targets are on the site."""
    uri = page.file.src_uri
    source = next((name for name, of in PAGES.items() if of == uri), f"docs/{uri}")

    def point(match: re.Match) -> str:
        picture, text, link, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if not (ROOT / path).exists():
            raise PluginError(f"{source}: the link to {link} leads to {path}, which does not exist.")
        target = files.get_file_from_path(PAGES.get(path, path.removeprefix("docs/")))
        if target is None:
            return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"
        return f"{picture}[{text}]({posixpath.relpath(target.src_uri, posixpath.dirname(uri) or '.')}{anchor or ''})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)  # what is between fences is no link
    return "".join(part if part.startswith("```") else LINK.sub(point, part) for part in parts)
