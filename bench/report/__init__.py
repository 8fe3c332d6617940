"""The report: records in, verdict, tables, figures and one page out. Run ``python -m bench.report``.

`ranking` orders the backends of a case, `verdict` says the outcome in a sentence, `ranked`, `measured` and `facts` make
tables, `figures` the figures, and `exhibits` what stands beside each. `contents` gathers it all; `page` and `markdown`
render it, `files` writes it, `watch` again and again. The page is ``template.html`` with ``sections.html``, its scripts
are ``tables.js``, ``charts.js`` and ``page.js``, and `embed` puts them and the data into it. No solver is imported: a
report renders where none is installed.
"""
