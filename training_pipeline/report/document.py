"""A document of sections: one file of HTML, which needs nothing outside it."""

from __future__ import annotations

from collections.abc import Mapping

from training_pipeline.report.markup import Markup, tag

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }
th, td { text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.passed { color: #2e6e2e } .failed { color: #a8241f } .note { color: #7a5a00 }
svg { max-width: 100%; height: auto } svg .guide { stroke: #ddd }
svg text { font: 12px system-ui, sans-serif; fill: #444 }
svg .row { text-anchor: end } svg .tick { text-anchor: middle } svg .name { font-weight: 600 }
"""


def document(title: str, told: str, sections: Mapping[str, Markup]) -> str:
    """Return HTML.

    Args:
        title: of the document.
        told: what is said before the first section.
        sections: what they hold, by heading.
    """
    parts = [tag("section", tag("h2", name), inside) for name, inside in sections.items()]
    body = tag("body", tag("h1", title), tag("p", told), *parts)
    charset = Markup('<meta charset="utf-8">')
    head = tag("head", charset, tag("title", title), tag("style", Markup(_STYLE)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
