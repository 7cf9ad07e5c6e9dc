"""`python -m dl4mic_hpc` is the same program as `dl4mic-hpc`."""

from dl4mic_hpc.cli.main import run

if __name__ == "__main__":
    run()
