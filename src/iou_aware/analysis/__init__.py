"""From evaluated runs to metrics, tables, figures, claims and the report: a folder for each stage.

``collect`` gathers evaluations into ``metrics.csv``. ``bootstrap`` measures how sure they are, ``uncertainty`` makes
intervals and verdicts of that. ``tables``, ``figures``, ``claims``, ``premise`` and ``gallery`` show what was measured,
``report`` puts it on pages. What several of them need lies beside the folders.
"""
