"""MPNet: BERT's layers with a bias by distance, the same in all of them, and without segments."""

from models.networks.families.family import Family

# The padding of positions is 1 in transformers' MPNet, whatever the padding token's id is.
MPNET = Family(positions_taken=lambda _: 2)
