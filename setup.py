"""`actions/` and `distributors/` at the top are installed as `geventjob.actions` and `geventjob.distributors`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["geventjob", "geventjob.*"]), "geventjob.actions", "geventjob.distributors"],
    package_dir={"geventjob.actions": "actions", "geventjob.distributors": "distributors"},
)
