"""Build the package: `actions/` and `distributors/` are installed as `geventjob.actions` and `geventjob.distributors`.

`slipstream/job` is for files that were written for SlipStream's engine. Its parent is a namespace, which has no
`__init__.py`: the package `slipstream-api` of PyPI installs into it too.

The address of the repository comes from $GEVENTJOB_REPOSITORY (`make dist REPOSITORY=...`). It makes the project's
links, and the relative links of README.md absolute. Without an address these links become plain text, so that none is
broken on a page outside the repository.
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!\w+:)([^)]+)\)")


def readme(repository: str) -> str:
    """Return README.md for pages outside the repository."""
    text = Path("README.md").read_text(encoding="utf-8")

    def elsewhere(link: re.Match[str]) -> str:
        picture, name, path = link.groups()
        return f"{picture}[{name}]({repository}/{'raw' if picture else 'blob'}/HEAD/{path})" if repository else name

    return LINK.sub(elsewhere, text)


def urls(repository: str) -> dict[str, str]:
    """Return the project's links by their names."""
    pages = {"Documentation": "docs/index.rst", "Changelog": "CHANGELOG.md"}
    links = {name: f"{repository}/blob/HEAD/{page}" for name, page in pages.items()}
    return {"Source": repository, "Issues": f"{repository}/issues", **links} if repository else {}


REPOSITORY = os.environ.get("GEVENTJOB_REPOSITORY", "").rstrip("/")

setup(
    long_description=readme(REPOSITORY),
    long_description_content_type="text/markdown",
    project_urls=urls(REPOSITORY),
    packages=[
        *find_packages(include=["geventjob", "geventjob.*"]),
        "geventjob.actions",
        "geventjob.distributors",
        "slipstream.job",
        "slipstream.job.actions",
    ],
    package_dir={"geventjob.actions": "actions", "geventjob.distributors": "distributors"},
)
