"""Deep-learning microscopy notebooks on the GPUs of a Slurm cluster, from a laptop."""

__version__ = "0.1.0"
