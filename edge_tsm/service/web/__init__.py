"""The page: a web server beside a run that shows it and lets people operate it.

It needs aiohttp (`pip install 'edge-tsm[page]'`), which is imported when a page is asked for.
"""
