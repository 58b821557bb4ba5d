"""HTML tables: of numbers beside a chart, for eyes and for screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, has_prose: bool = False
) -> str:
    """A table whose first column names the rows; everything is escaped.

    Args:
        head: Titles of the columns; all empty where the rows say it all.
        rows: As many cells each.
        caption: What the table holds, for screen readers.
        has_prose: Whether cells hold sentences, which may break into lines.
    """
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    titles = f"<thead><tr>{cells}</tr></thead>" if any(head) else ""
    body = "".join(_row(head, row, has_prose) for row in rows)
    title, css = escape(caption), "prose-cells" if has_prose else "numbers"
    return (
        f'<div class="table-scroll" role="region" tabindex="0" aria-label="{title}">'
        f'<table class="{css}"><caption class="hidden">{title}</caption>'
        f"{titles}<tbody>{body}</tbody></table></div>"
    )


def _row(head: Sequence[str], row: Sequence[str], has_prose: bool) -> str:
    name, *values = row
    # On a phone a row of sentences is a block, and every cell carries its title.
    titles = [f' data-head="{escape(title)}"' if has_prose else "" for title in head[1:]]
    cells = "".join(
        f"<td{title}>{escape(value)}</td>" for title, value in zip(titles, values, strict=True)
    )
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def folded(summary: str, content: str) -> str:
    """The content, behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"
