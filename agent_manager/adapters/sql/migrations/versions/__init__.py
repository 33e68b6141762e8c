"""One file per change of the schema, numbered `0001`, `0002` and so on; `schema.HEAD` names the newest.

A file that was released is never changed. Does not belong here: code that a change and the next would share.
"""
