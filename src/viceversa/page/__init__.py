"""The page to draw on: its files (web/), and the names and descriptions of its models.

`viceversa serve` delivers the page, and models compute in the server. `viceversa export` writes the
page to a folder, and models compute in the browser; session.js then replaces web/service.js.
"""
