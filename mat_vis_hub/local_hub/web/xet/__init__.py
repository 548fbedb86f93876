"""Xet uploads: as much of the Xet protocol as a client needs to bring its files here.

Newer clients send every large file this way. They cut it into *chunks*, send chunks by the thousand in
*xorbs*, then say in a *shard* which chunks of which xorbs make up which file. Files are rebuilt into the LFS
store under their SHA-256, by which the commit that follows names them. Downloads need none of this: `resolve`
serves plain HTTP.

The protocol: https://huggingface.co/docs/xet
"""

from mat_vis_hub.local_hub.web.xet.cas import routes

__all__ = ["routes"]
