"""A report: what a comparison says, as one page of HTML that needs nothing else and as Markdown."""
