"""Each check of the policy `connectors` has an example that it refuses, in words that name the resource."""

import copy

import pytest

from pipelines import contracts
from pipelines.connectors import resources
from pipelines.contracts import ContractError

POLICY = contracts.policy("connectors")


def changed(path, value):
    policy = copy.deepcopy(POLICY)
    *above, name = path.split(".")
    place = policy
    for part in above:
        place = place[part]
    place[name] = value
    return policy


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("client.attemps", 3, "unknown field `attemps`"),  # misspelt
        ("client.attempts", "many", "Expected `int`, got `str`"),
        ("client.attempts", 0, "attempts must be above 0"),
        ("sources.crm.requests_per_s", 0, "crm: requests_per_s must be above 0"),
        ("sources.crm.auth", {"form": "kerberos"}, "Invalid value 'kerberos'"),
        ("resources.orders.source", "oms", "orders: source 'oms' is not declared"),
        ("resources.orders.channel", "order", "orders: there is no channel 'order'"),
        ("resources.orders.path", "orders", "path must begin with /"),
        ("resources.orders.key", ["id"], "key must name required fields"),
        ("resources.orders.key", [], "key must name required fields"),
        ("resources.orders.cursor.field", "paid_at", "the cursor's field must be a required field"),
        ("resources.orders.cursor.form", "julian", "cursor.form must be one of"),
        ("resources.orders.cursor.overlap_s", 0, "overlap_s must be 1 or more"),
        ("resources.orders.page.size", 1, "page.size must be 2 or more"),
        ("resources.orders.page", {"form": "scroll"}, "Invalid value 'scroll'"),
        ("resources.orders.optional.order_id", "ident", "either required or optional"),
        ("resources.orders.optional.shop", "uuid", r"unknown type\(s\) uuid"),
        ("resources.orders.deletions.field", "gone", "the tombstone's field must be declared"),
        ("resources.crm_customers.deletions.item_path", "/v1/customers", r"item_path must hold \{key\}"),
    ],
)
def test_refused(path, value, said):
    with pytest.raises(ContractError, match=said) as refused:
        resources.read(changed(path, value))
    assert "connectors.yaml" in str(refused.value)


def test_keys_of_several_fields_cannot_be_compared():
    policy = changed("resources.crm_customers.key", ["customer_no", "updated_at"])
    with pytest.raises(ContractError, match="cannot be compared"):
        resources.read(policy)


def test_every_kind_of_page_and_of_deletion_is_in_use():
    declared = resources.declared().resources.values()
    assert {type(one.page).__name__ for one in declared} == {"NumberPages", "OffsetPages", "TokenPages", "LinkPages"}
    assert {type(one.deletions).__name__ for one in declared} == {"Tombstones", "DeletedList", "KeyComparison"}
