"""Self-contained HTML pages with charts: no network, no scripts, light and dark, from 320 pixels of width up.

`html.py` holds the pieces of a page, `charts.py` the charts as inline SVG, `scales.py` axes and numbers, `picture.py`
thumbnails. The look is in `style.css`, the frame in `page.html`. Both packages make their pages with it.
"""
