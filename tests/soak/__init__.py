"""The backend under load and abuse: ``python3 install/run.py test --soak``. docs/reliability.md says what it promises.

Real processes on loopback: a server, its workers, and clients that are killed and come back. A part is a module with
``run(options, folder)``, which gives its figures as it goes, a sentence each, and raises :class:`options.Broken` where a promise is broken. What happens,
and to whom, follows from the seed, which is printed.
"""
