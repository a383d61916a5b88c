"""The page in the browser at `/ui`: its files, as the browser gets them."""

from geventjob.server.page.files import PageFile, page_files

__all__ = ["PageFile", "page_files"]
