"""`actions/` and `distributors/` at the top are installed as `geventjob.actions` and `geventjob.distributors`.

`slipstream/job` is for files that were written for SlipStream's engine. Its parent is a namespace, which has no
`__init__.py`: the package `slipstream-api` of PyPI installs into it too.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["geventjob", "geventjob.*"]),
        "geventjob.actions",
        "geventjob.distributors",
        "slipstream.job",
        "slipstream.job.actions",
    ],
    package_dir={"geventjob.actions": "actions", "geventjob.distributors": "distributors"},
)
