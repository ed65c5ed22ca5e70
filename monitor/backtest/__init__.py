"""What a configuration would have done: stored mentions through the daemon's steps, clock moved.

:mod:`monitor.backtest.reading` reads mention files, :mod:`~monitor.backtest.spool` sorts what
matches, :mod:`~monitor.backtest.replay` moves the clock, :mod:`~monitor.backtest.outcome` says what
came of it, :mod:`~monitor.backtest.difference` holds two outcomes against each other. Nothing here
sends anything or asks anybody.
"""
