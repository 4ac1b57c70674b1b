"""Do trie memtables answer as skip lists do, and do writes go on?

Asked of a real node (docs/decisions/0031-trie-memtables.md).
"""
