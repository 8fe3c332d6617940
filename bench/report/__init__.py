"""The report of records: verdict, tables, figures and one page. Run ``python -m bench.report``.

`outcome` turns records into data, `tables` and `figures` present it, `page` makes HTML and
Markdown, and `files` writes everything; `watch` does so repeatedly. No solver is imported, so that
reports can be made where none is installed.
"""
