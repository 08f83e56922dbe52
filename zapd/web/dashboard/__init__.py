"""The dashboard: pages made on the server, kept live by server-sent events, usable without scripts.

A page is a template of fixed parts and of *regions*. The same region template makes the first page, every live patch
and what a reload shows, so there is one way to render a thing and no state in the browser.
"""
