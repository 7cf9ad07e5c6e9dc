"""Every Python that is started beside this file takes a warning about the run-time files' own code for an error."""

import warnings

warnings.filterwarnings("error", module="dl4mic_forms")
