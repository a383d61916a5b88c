# -*- coding: utf-8 -*-
"""A helper that lies beside old actions, which import it in both ways."""


def counted(what):
    return "{} of them".format(len(what))
