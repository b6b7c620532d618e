# SPDX-License-Identifier: MIT
"""Makes the interpreter's own regression tests meet another implementation where they say `import threading`.

The interface, for whoever runs the tests:

    install(environment, implementation="plait", exempt=())
        Put the redirect into the virtual environment at `environment`. From then on its Python, and every Python child
        that it starts, has it. `implementation` is
            "standard"      no redirect, only what the tests need anyway (see below): the baseline
            "plait"         the wheels that are installed in the environment
            a folder        one that pass_through() or sabotaged() has filled
        May be called again to change the implementation; processes that run already keep theirs. Code under one of
        the folders in `exempt`, and under tools/ always, sees the interpreter's own modules: the runner.
    uninstall(environment)
        Take it out again.
    pass_through(folder, python) -> Path
        Fill `folder` with an implementation that hands through the modules of the interpreter `python`.
    sabotaged(folder, original, module="queue", statement="Queue.join = lambda self: None") -> Path
        Fill `folder` with a copy of the implementation in `original` (a folder filled by pass_through(), or a
        site-packages folder that holds plait) in which `statement` was run at the end of `module`.
    site_packages(environment) -> Path
        Where that environment keeps its packages.

The folder that the last two return is what install() takes as `implementation`.

The tests are found under their own names: `test.test_queue` and so on. Interpreters that ship
`test._test_multiprocessing` without the packages that install its tests (3.11.7 and 3.12.1 of some distributions) get
`test.test_multiprocessing_{fork,spawn,forkserver}.test_{processes,threads,manager,misc}` made at run time, in every
child, too, under whichever implementation, the baseline included.
"""
