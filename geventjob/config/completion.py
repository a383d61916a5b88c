"""The last step of parsing: values that come from other options or from this machine, and checks over options."""

from __future__ import annotations

import os
import stat

from geventjob.config.login import log_in, read_secret
from geventjob.config.options import default_data_dir
from geventjob.config.parser import OptionParser
from geventjob.config.settings import SECRET_FILES, Settings


def complete(parser: OptionParser, settings: Settings) -> Settings:
    """Fill in values that come from other options or from this machine, and return the settings."""
    settings.data_dir = settings.data_dir or default_data_dir()
    for option in parser.options:
        value = getattr(settings, option.dest)
        if option.many:
            usual = [option.usual] if option.usual and os.path.isdir(option.usual) else []
            setattr(settings, option.dest, usual if value is None else list(value))
        if option.name == "name":
            settings.name = value or f"{os.uname().nodename}-{os.getpid()}"
        if option.name == "zk-hosts":
            settings.zk_hosts = ",".join(value or ()) or None
        if option.name == "ss-url":
            settings.ss_url = ",".join(value)
            log_in(parser, settings)
        if option.name in SECRET_FILES:
            what = "key" if "key" in option.name else "password"
            secret = read_secret(parser, option.name, value, what) if value else None
            setattr(settings, SECRET_FILES[option.name], secret)
    check(parser, settings)
    return settings


def check(parser: OptionParser, settings: Settings) -> None:
    """Check for missing options and for options that exclude each other."""
    by_key = getattr(settings, "ss_key", None)
    if parser.command in ("executor", "distributor") and not (by_key or (settings.ss_user and settings.ss_pass)):
        parser.error(
            "--ss-user and --ss-pass-file (or --ss-pass, or $GEVENTJOB_SS_PASS) are needed,"
            " or --ss-key and --ss-secret-file"
        )
    if parser.command == "distributor" and bool(settings.names) == settings.all:
        parser.error("name the distributors to run, or give --all")
    if parser.command == "server":
        _check_elasticsearch(parser, settings)
        _check_certificate(parser, settings)
    if not settings.data_dir and (parser.command in ("server", "up") or not getattr(settings, "zk_hosts", "client")):
        parser.error("--data-dir is needed: the user of this process has no home folder")


def _check_certificate(parser: OptionParser, settings: Settings) -> None:
    """Check the files of TLS, and warn of a key that everybody can read."""
    if settings.tls_key and not settings.tls_cert:
        parser.error("--tls-key: --tls-cert is needed with it")
    key = settings.tls_key or settings.tls_cert
    if key and os.stat(key).st_mode & stat.S_IROTH:
        parser.warn_exposed("the key of TLS", key)


def _check_elasticsearch(parser: OptionParser, settings: Settings) -> None:
    """Check the log-in to Elasticsearch."""
    if bool(settings.es_user) != bool(settings.es_pass_file):
        given, missing = ("es-user", "es-pass-file") if settings.es_user else ("es-pass-file", "es-user")
        parser.error(f"--{given}: --{missing} is needed with it")
    if settings.es_user and settings.es_api_key_file:
        parser.error("--es-user and --es-api-key-file are both given: one is enough")
