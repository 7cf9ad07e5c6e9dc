"""The recipes that this project exists for, in clones of their repositories: all that convert, converted.

`make upstream UPSTREAM=DIR` converts DL4MicEverywhere's two Dockerfiles for every configuration of its catalogue and
reads each definition back. DIR holds clones of HenriquesLab/DL4MicEverywhere and HenriquesLab/ZeroCostDL4Mic. Nothing
of them is part of this project, and nothing is fetched.
"""
