"""The cyclopts application. The other modules of the package add the commands."""

from __future__ import annotations

from cyclopts import App, Parameter

from .. import __version__

app = App(
    name="viceversa",
    version=__version__,
    help="Image-to-image translation with pix2pix and CycleGAN. Every command takes "
    "--import MODULE, a .py file or dotted name that adds methods or networks of your own.",
    default_parameter=Parameter(name_transform=lambda name: name),
    result_action="return_value",
)
