"""The part of the Xet protocol that clients need to upload and download files.

Newer clients upload every large file this way. They cut it into *chunks*, send thousands of chunks in one *xorb*, and
then a *shard*, which says which chunks of which xorbs make up which file. The files are rebuilt into the LFS store
under their SHA-256, and the commit that follows refers to them by it. `resolve` and the lists of files name the Xet
hash of such a file, so clients that have hf_xet download it through Xet, too.

The protocol: https://huggingface.co/docs/xet
"""

from mat_vis_hub.local_hub.web.xet.cas import routes

__all__ = ["routes"]
