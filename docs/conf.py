# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the documentation; `make docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mirage_kernels import __version__

project = "Mirage"
author = "The Mirage authors"
project_copyright = "2026, The Mirage authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Short names in signatures; the text of a docstring gives shapes and dtypes.
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

doctest_test_doctest_blocks = ""  # tests/docs runs those of docstrings, with the names of their modules
doctest_global_setup = "import os, tempfile; os.chdir(tempfile.mkdtemp())"  # examples write files

# Links to the web are not followed, because a build needs no network; broken links inside the site are errors.
linkcheck_ignore = [r"https?://.*"]
nitpicky = False

html_theme = "furo"
html_title = f"Mirage {release}"
html_theme_options = {"source_view_link": ""}
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sourcelink = False
