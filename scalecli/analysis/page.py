"""A page of HTML that is whole in itself: no other file and no server is asked for anything."""

from __future__ import annotations

import html

# The browser itself refuses whatever would come from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(title: str, body: str, *, style: str, script: str) -> str:
    """The whole page; `title` is text, `body` HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{style.strip()}
</style>
</head>
<body>
{body}
<script>
{script.strip()}
</script>
</body>
</html>
"""
