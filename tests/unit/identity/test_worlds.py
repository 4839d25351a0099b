"""Random sequences of merges, splits, reviews and late links by the resolver's rules: what is taken back is gone."""

from __future__ import annotations

from hypothesis import given, settings

from tests.unit.identity.worlds import World, plans


@settings(max_examples=150, deadline=None)
@given(plans())
def test_the_way_back_leads_to_the_links_and_customers_of_before(plan):
    world = World(1, plan)
    before = world.links, world.customers()
    world.go()
    world.come_back()
    after = world.links, world.customers()
    world.close()
    assert after == before
