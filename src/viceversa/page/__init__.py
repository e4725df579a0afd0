"""The page to draw on: its files (web/), and the names and descriptions of its models.

`serve` delivers it, and models compute in the server; `export` writes it to a folder, and models
compute in the browser. web/service.js is the only file that differs.
"""
