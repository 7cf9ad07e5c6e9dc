"""One real training: StarDist 2D, from raw pictures to a prediction, by hand and without a browser.

`make upstream` launches the notebook and the requirements of the clone of ZeroCostDL4Mic, neither of them changed, on
the practice cluster: once as a person would who fills in the forms and presses Run, once with `--headless` and the
same parameters. What the two bring home must be equal, byte for byte, and the model must have learned something.

The configuration and the recipe beside this file are this check's own: upstream's recipe begins with an image that
the practice cluster has not. The recipe seeds what the notebook leaves to chance.
"""
