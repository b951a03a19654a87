"""Trained models as an HTTP service, with a page to look at what they recommend.

A request passes ``protocol`` (a client that hangs), ``gate`` (limits, key, metrics) and a route of ``app``, which asks
``answers`` in a thread; these ask the :class:`~recbole_cadmr.recommender.recommender.Recommender` of a ``ServedModel``.
``models`` exchanges it whole when a new export is there, so that a request in progress keeps the one it began with.
"""
