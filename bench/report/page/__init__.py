"""The report's page and its Markdown: what is said, in which order, and how it is rendered.

`contents` gathers it all, `exhibits` says what stands beside each figure. `html` renders ``template.html`` with
``sections.html``; `scripts` puts ``tables.js``, ``charts.js``, ``page.js`` and the data into it. `markdown` is for
where a page cannot be shown.
"""
