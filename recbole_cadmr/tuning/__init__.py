"""Searches for settings on validation, with Ray Tune.

The life of a trial. The *driver* is the process of the search, in which a :class:`~.trial_store.TrialStore` keeps the
records of all trials and alone writes ``trial.json``; each trial runs in a process of its own and calls it.

1. ``search`` gives Ray an algorithm (which settings next) and a scheduler (which trials may continue). Ray starts a
   process, ``trial.run_trial``, with settings and, for a member of a population, a pointer to the state to start from.
2. The trial opens its record in the store (``waiting`` or new -> ``running``). One that is known from before the search
   was cut first replays its validations to Ray; one whose settings were tried before takes over their reports and ends.
3. It trains as any run does, in ``trials/NUMBER/run``, from its own ``resume.pt`` if it has one. After each validation
   it tells the store, then Ray; Ray may end the process there, which makes the trial ``stopped``.
4. A member of a population keeps a snapshot of its state every ``grace`` epochs. Ray may restart it from another
   member's, with changed settings; history and settings so far come with it, and ``changes`` says what changed when.
5. A run that has its result makes the trial ``finished``; an error of its own makes it ``failed``, with the reason. If
   the process or its node dies, Ray tries once more, and the trial resumes from its state.
6. When all are over, ``search`` trains those stopped trials to their ends that the result needs (the best and the
   defaults); ``tune`` reads the test part for the best and writes ``best.yaml``, ``trials.csv`` and ``report.html``.

States that nobody needs any more are removed as trials end; results and reports stay. What is on disk is enough to
resume a search that was killed at any moment.
"""
