"""How Sphinx builds the site. `stage.py` first puts its sources together in build/site/source.

    make docs                        # into build/site/html, without a network; any warning is an error
    SNNMODELS_DOCS_RUN=1 make docs   # and run the examples, so that the gallery shows their figures (minutes)

SNNMODELS_BRIAN2_INVENTORY names Brian2's `objects.inv`, a file or an address; with it, names of Brian2 are links.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # the extensions below, and the package of this checkout

import snnmodels  # noqa: E402

project = "snnmodels"
author = copyright = "The snnmodels authors"
version = release = snnmodels.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "extensions",  # what the others lack: beside this file
]
root_doc = "index"
templates_path = [str(HERE / "templates")]  # autosummary looks beside the sources, not here
exclude_patterns = ["gallery_scripts", "tutorial_scripts", "**/sg_execution_times.rst", "sg_execution_times.rst"]
nitpicky = False  # docstrings name parameters and arrays as well as objects

myst_enable_extensions = ["dollarmath", "html_image"]  # <img> with a width, in tables, is copied too
myst_heading_anchors = 4  # as repository hosts make them
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions

default_role = "py:obj"  # `Simulation` in a docstring is a link where there is such an object, and code where not
autosummary_generate = True
# packages of extras, where they are not installed
autodoc_mock_imports = [name for name in ("mpi4py", "nir", "torch") if importlib.util.find_spec(name) is None]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True

inventory = os.environ.get("SNNMODELS_BRIAN2_INVENTORY")
intersphinx_mapping = {"brian2": ("https://brian2.readthedocs.io/en/stable/", inventory)} if inventory else {}

run = os.environ.get("SNNMODELS_DOCS_RUN", "") not in ("", "0")
# examples that need what is not here are shown without being run
needs = {"torch_layer": "torch", "jax_layer": "jax"}
left_out = "|".join(name for name, package in needs.items() if importlib.util.find_spec(package) is None)
sphinx_gallery_conf = {
    "examples_dirs": ["tutorial_scripts", "gallery_scripts"],
    "gallery_dirs": ["tutorials", "gallery"],
    "filename_pattern": rf"/(?!({left_out})\.py)\w+\.py$" if left_out else r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": "True" if run else "False",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "capture_repr": (),  # what is printed, and not the last value of a block
    "image_scrapers": ("matplotlib",),
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = f"snnmodels {release}"
html_show_sphinx = False
html_static_path = [str(HERE / "static")]
# scripts that have not been run have no pictures
html_css_files = ["site.css"] if run else ["site.css", "not_run.css"]
html_math_renderer = "mathml"
pygments_style = "friendly"
