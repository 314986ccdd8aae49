"""How the documentation is built: `sphinx-build -W docs build/docs`, with every warning an error.

Pages are MyST Markdown, which GitHub shows too; the tour is executed; the reference comes from the
docstrings. Nothing that a page shows is loaded from another host, and the build says so if it is.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("NPROC", "1")  # see "Threads" in running.md
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1]))

import linsim

project = "linsim"
author = "The linsim authors"
copyright = "the linsim authors, Apache-2.0"
release = version = linsim.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["tour"]  # whose pages are written into _tour
suppress_warnings = ["config.cache"]  # of functions below

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
mathjax3_config = {"options": {"enableMenu": False}}  # which would load speech from elsewhere

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
default_role = "code"
highlight_language = "none"  # of formulas

html_theme = "furo"
html_title = f"linsim {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False


def figures_of(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures that a block of the tour has made and that no block before has shown."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    names = block_vars["example_globals"]
    shown = names.setdefault("__shown__", [])
    paths = []
    for figure in [value for value in names.values() if isinstance(value, Figure)]:
        if not any(figure is each for each in shown):
            shown.append(figure)
            paths.append(next(block_vars["image_path_iterator"]))
            figure.savefig(paths[-1])
    return figure_rst(paths, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "tour",
    "gallery_dirs": "_tour",
    "filename_pattern": r"/\d_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": (figures_of,),
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 10**6,
    "download_all_examples": False,
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "reset_modules": (),
}


def as_restructured_text(
    app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Docstrings are plain text: keep formulas, which are indented, and signs as they are typed."""
    body, kept, inside = [], "", False
    for line in lines:
        text, indented = line.strip(), line.startswith("    ")
        if re.fullmatch(r"(Args|Returns|Raises|Example|Yields|Attributes):", line):
            inside = True  # what is indented from here on is no formula
        if not text:
            kept = ""
        elif text.startswith(">>>"):
            kept = "example"
        elif indented and not inside and not kept:
            kept = "formula"
            if not body[-2].startswith("    "):  # else it goes on
                body += ["::", ""]
        body.append(line if kept else escaped(line))
    section = re.compile(r'docs/(\w+)\.md,\s+"([^"]+)"')
    equations = re.compile(r"docs/theory\.md,\s+Eq\.\s+\([\w-]+\)(?:\s+and\s+\([\w-]+\))*")
    linked = equations.sub(link_to_equations, section.sub(link_to_section, "\n".join(body)))
    lines[:] = linked.split("\n")


def link_to_equations(found: re.Match[str]) -> str:
    """The equations that a docstring names as its source, as links that show their numbers."""
    labels = re.findall(r"\(([\w-]+)\)", found[0])
    return "`docs/theory.md <../theory.html>`__, Eq. " + " and ".join(
        f":eq:`{label}`" for label in labels
    )


def link_to_section(found: re.Match[str]) -> str:
    """The section of a page that a docstring names as its source, as a link from the reference."""
    slug = "-".join(found[2].lower().split())
    return f"`{found[0]} <../{found[1]}.html#{slug}>`__"


def escaped(line: str) -> str:
    """Prose in which nothing but `code` is markup."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"([|*\\])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
    return "`".join(parts)


def either_array(
    app: Any,
    what: str,
    name: str,
    thing: object,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """A signature in which an array of JAX or of NumPy is `Array`, as in the source."""
    both = re.compile(r"([\w~.]+)\[jaxlib\._jax\.Array, ('[^']*')\] \| \1\[ndarray, \2\]")
    if signature is None:
        return None
    plain = [both.sub(r"\1[Array, \2]", part or "") for part in (signature, returns)]
    return plain[0], plain[1] or None


def linked_names(app: Any, doctree: Any, docname: str) -> None:
    """Make `spectra.rankme` in running text a link to its entry in the reference."""
    from docutils import nodes
    from sphinx.util.nodes import make_refnode

    objects = app.env.get_domain("py").objects
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().partition("(")[0]
        names = (name, f"linsim.{name}", f"linsim.theory.{name}") if "." in name else ()
        known = [each for each in names if each in objects]
        if known and not isinstance(literal.parent, nodes.reference):
            entry = objects[known[0]]
            target = docname, entry.docname, entry.node_id
            literal.replace_self(make_refnode(app.builder, *target, literal.deepcopy()))


def nothing_from_elsewhere(app: Any, error: Exception | None) -> None:
    """Warn of each script, style, font or picture that a page would load from another host."""
    from sphinx.util import logging

    loads = re.compile(r"""<(?:script|img|iframe|link)[^>]*?(?:src|href)=["'](https?:)?//[^"']+""")
    for page in Path(app.outdir).rglob("*.html") if error is None else ():
        for found in loads.finditer(page.read_text()):
            if 'rel="canonical"' not in found[0]:
                logging.getLogger(__name__).warning("%s loads %s", page.name, found[0])


def page_without_python(app: Any, error: Exception | None) -> None:
    """Put the explorer's exported page beside the others, for batches of 128."""
    if error is None and app.builder.format == "html":
        from linsim.explore.export import Grid, exported

        page = exported(Grid(batch_size=(128,), init_scale=(0.1,)))
        (Path(app.outdir) / "explorer.html").write_text(page)


def setup(app: Any) -> None:
    """Connect what is above with the build."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=0)
    app.connect("autodoc-process-signature", either_array)
    app.connect("doctree-resolved", linked_names)
    app.connect("build-finished", page_without_python)
    app.connect("build-finished", nothing_from_elsewhere)
