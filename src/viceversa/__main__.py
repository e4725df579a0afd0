"""`python -m viceversa`, which is what torchrun starts: torchrun ... -m viceversa train RECIPE."""

from .cli import main

main()
