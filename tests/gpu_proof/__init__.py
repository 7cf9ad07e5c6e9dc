"""The proof of the GPUs on a real GPU, with a real framework: `make gpu-proof`."""
