"""A week of an invented brand, replayed through the real daemon: what ``merkwacht demo`` shows.

Only three things here are not the product itself: the servers that play the outside world
(:mod:`~monitor.demo.sources`, :mod:`~monitor.demo.mailbox`), the clock that is moved
(:mod:`~monitor.demo.clock`), and the screen (:mod:`~monitor.demo.board`). Connectors, store,
model, signals, routes and the mail channel are those of ``merkwacht run``.
"""
