"""The report's page and its Markdown.

`contents` collects the contents, `exhibits` the figures with the texts beside them. `html` renders
``template.html`` with ``sections.html``; `scripts` adds ``tables.js``, ``charts.js``, ``page.js``
and the data. `markdown` renders the same contents as Markdown.
"""
