"""Settings of Sphinx, which builds the pages into HTML (`make docs`). No page loads anything from the network."""

project = "geventjob"
extensions = ["myst_parser"]
myst_heading_anchors = 4
nitpicky = True
html_theme = "furo"
html_title = "geventjob"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
