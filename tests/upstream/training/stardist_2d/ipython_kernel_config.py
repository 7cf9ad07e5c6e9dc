# So that two trainings can be compared: Keras draws a network's first weights by Python's own generator, which the
# notebook does not seed. Every cell begins with the same seed, because how many numbers were drawn before it depends
# on what was imported, which is more where there are forms to be drawn.
c.InteractiveShellApp.exec_lines = [  # noqa: F821
    'get_ipython().events.register("pre_run_cell", lambda info: __import__("random").seed(1))'
]
