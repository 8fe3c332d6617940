"""The report: records in, verdict, tables, figures and one page out. Run ``python -m bench.report``.

`ranking` orders the backends of a case, `verdict` says the outcome in a sentence, `figures` and `style` draw it, `page`
renders HTML and Markdown, `__main__` writes the files. No solver is imported: a report renders where none is installed.
"""
