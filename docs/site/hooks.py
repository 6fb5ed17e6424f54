"""
What the site needs beyond Markdown. Pages link as the repository does, so that they can be read there too:

- files of the root (LOG.md, CHANGELOG.md, ...) become pages, and links to them lead there;
- links to source files become plain text, since the site does not hold them;
- `[`Name`]` in a docstring, TRL's form of a reference, becomes the name alone, and a type is shown without its marks.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File


ROOT = Path(__file__).parents[2]
PAGES = {
    name: f"{name.split('.')[0].lower()}.md" for name in ("LOG.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
}
PAGES["README.md"] = "index.md"
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(((?!https?://|#|mailto:)[^)\s]+)\)")


def on_files(files, config):
    for name, page in PAGES.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    at_root = page.file.src_uri in PAGES.values() and page.file.src_uri != "index.md"
    here = "" if at_root else posixpath.dirname(f"docs/{page.file.src_uri}")

    def moved(link):
        text, target = link.groups()
        path, anchor = target.partition("#")[::2]
        path = posixpath.normpath(posixpath.join(here, path)) if path else ""
        if path in PAGES:
            new = PAGES[path]
        elif path.startswith("docs/") or not path:
            new = path.removeprefix("docs/")
        else:
            return text
        start = posixpath.dirname(page.file.src_uri) or "."
        new = posixpath.relpath(new, start) if new else ""
        return f"[{text}]({new}{'#' + anchor if anchor and path != 'README.md' else ''})"

    return LINK.sub(moved, markdown)


def on_page_content(html, page, config, files):
    html = re.sub(r"\[<code>~?\.?([\w.~]+)</code>\]", r"<code>\1</code>", html)
    return re.sub(r"<code>([^<]*`[^<]*)</code>", lambda found: f"<code>{_type(found[1])}</code>", html)


def _type(text):
    """`int`, optional: from "`int`, *optional*, defaults to `10`", whose default has a column of its own."""
    return re.sub(r",? defaults to .*", "", text).replace("*optional*", "optional").replace("`", "")
