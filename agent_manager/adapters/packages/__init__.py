"""Packages as folders on disk: reading manifests, finding folders, noticing changes.

Belongs here: the manifest's keys and their rules, YAML, the file system. Does not belong here: what is done with a
found package (services), the values a manifest becomes (domain).
"""
