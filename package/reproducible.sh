# What all builds share, so that equal commits give equal files: modes, the date, and the interpreter that builds.
umask 022
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y PKG-INFO)} # no commit in an sdist
export SOURCE_DATE_EPOCH
python=${PYTHON:-$PWD/.venv/bin/python}
