"""The report: records in, verdict, tables, figures and one page out. Run ``python -m bench.report``.

`outcome` is what the records say, as data; `tables` and `figures` show it; `page` makes HTML and Markdown of them;
`files` writes it all, `watch` again and again. No solver is imported: a report renders where none is installed.
"""
