"""The ``etar`` command. Its help is plain text: importing what would draw boxes around it takes as long as all else."""

import os

os.environ.setdefault("TYPER_USE_RICH", "0")
