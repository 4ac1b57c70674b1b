"""The benchmark: every client writes the same records to the same table, and is measured alike.

plan      which peers, how many records, how often
tools     what must be installed before, cached outside the checkout
cluster   the stores: applied, awaited, found
stores    Kafka and Cassandra as the harness speaks to them
processes the clients under test and what they cost
drain     one run over a full topic
latency   one run at a rate
figures   numbers from samples (pure)
profiles  what the generator makes (pure)
report    the page and its plots, from the result (pure)
"""
