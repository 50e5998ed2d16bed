"""Everything that an invariant can be tested in: a world, a store, controllers, and what judges them."""
