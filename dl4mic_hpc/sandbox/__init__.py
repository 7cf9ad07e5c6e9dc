"""A practice cluster in containers on this machine: real Slurm, sshd, Apptainer and registry, simulated GPUs."""

from dl4mic_hpc.sandbox.report import SandboxStatus, status
from dl4mic_hpc.sandbox.starting import up
from dl4mic_hpc.sandbox.stopping import SandboxRemoved, down

__all__ = ["SandboxRemoved", "SandboxStatus", "down", "status", "up"]
