"""Xet uploads: the part of the Xet protocol that clients need to upload files.

Newer clients upload every large file this way. They cut it into *chunks*, send thousands of chunks in one *xorb*, and
then a *shard*, which says which chunks of which xorbs make up which file. The files are rebuilt into the LFS store
under their SHA-256, and the commit that follows refers to them by it. Downloads use plain HTTP from `resolve`.

The protocol: https://huggingface.co/docs/xet
"""

from mat_vis_hub.local_hub.web.xet.cas import routes

__all__ = ["routes"]
