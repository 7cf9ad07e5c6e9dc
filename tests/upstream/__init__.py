"""What this project exists for, in clones of its repositories: recipes, notebooks, and one real training.

`make upstream UPSTREAM=DIR` converts DL4MicEverywhere's two Dockerfiles for every configuration of its catalogue and
reads each definition back (`upstream`); converts every notebook of our catalogue, runs it beside the original in real
kernels and compares (`upstream.notebooks`); and trains once (`upstream.training`). DIR holds clones of
HenriquesLab/DL4MicEverywhere, HenriquesLab/ZeroCostDL4Mic, BSEL-UC3M/FRU-Net-TEM-segmentation and
IvanHCenalmor/SISR_Benchmark. Nothing of them is part of this project; of the notebooks, counts and hashes stand in
notebooks.json. Nothing is fetched from GitHub.
"""
