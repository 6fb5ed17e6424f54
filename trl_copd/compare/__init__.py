"""
Which method wins on your data: `trl-copd compare --config mine.yaml --methods mixed mopd copd --seeds 0 1`.

    __main__.py    the command: estimate, runs, table, figure
    jobs.py        what each method runs, so that all get the same budget
    launch.py      one run in a process of its own, and what it leaves
    results.py     JSON Lines, one object a run
    estimate.py    how long it will take
    intervals.py   means, paired differences, Student's t
    summary.py     table and what cannot be told apart
    figure.py      accuracy of every method, seed by seed
"""
